"""What the paper says about its results, and whether a reproduction's agree: by rules, whatever comes out."""

import math
from dataclasses import dataclass

from hashfed.reproduction.analysis import (
    WITHIN_POINTS,
    Spread,
    curve,
    full_runs,
    gaps,
    paired,
    points_apart,
    unified_accuracy,
)
from hashfed.reproduction.device_budget import device_rows, largest_oov_rate
from hashfed.reproduction.paper import ALIKE_FROM, GAINS, HASH
from hashfed.reproduction.results import Reproduction


@dataclass(frozen=True)
class Claim:
    """A claim of the paper beside what was found.

    Attributes:
        text: what the paper says.
        place: where it says so.
        rule: when a reproduction agrees.
        numbers: by what they are of, such as a budget: points of accuracy; NaN where runs failed.
        holds: whether the reproduction agrees; None where it has not measured it.
        vocabulary: of the panel; None for a claim about several.
        percent: whether the numbers are accuracies in percent instead of differences in points.

    """

    text: str
    place: str
    rule: str
    numbers: tuple[tuple[str, float], ...]
    holds: bool | None
    vocabulary: int | None = None
    percent: bool = False


def claims(found: Reproduction) -> tuple[Claim, ...]:
    """All that the experiments which were asked for can say something about."""
    made: list[Claim] = []
    if "figure1" in found.experiments:
        for vocabulary in found.vocabularies:
            made += [
                _hash_beats_random(found, vocabulary),
                _alike_from(found, vocabulary),
                _mips_beats_hash(found, vocabulary),
            ]
        if len(found.vocabularies) > 1:
            made.append(_hash_gains_with_vocabulary(found))
    if "table2" in found.experiments:
        made += [_larger_beats_full(found, vocabulary) for vocabulary in found.vocabularies]
        if len(found.vocabularies) > 1:
            made += [_larger_gains_with_vocabulary(found), _unified_grows(found)]
    return tuple(made)


def advantages(found: Reproduction, vocabulary: int, method: str, other: str) -> list[tuple[str, float]]:
    """By budget, from the smallest: points of a method over another in the mean of pairs of the same seed.

    Budgets without a pair are left out, but where a run of ``method`` failed the number is NaN.
    """
    theirs = {point.budget: point for point in curve(found.runs, vocabulary, other)}
    apart = []
    for point in curve(found.runs, vocabulary, method):
        there = theirs.get(point.budget)
        if there is not None:
            gain = points_apart(paired(point.runs, there.runs))
            if point.failed or gain.values:
                apart.append((point.budget, math.nan if point.failed else gain.mean))
    return apart


def _hash_beats_random(found: Reproduction, vocabulary: int) -> Claim:
    return _beats(
        "Hashing is better than random sampling at the same computed parameters.",
        "section 4.2, figure 1",
        "hashing − random > 0 points at every budget that both have",
        vocabulary,
        advantages(found, vocabulary, HASH, "random"),
    )


def _alike_from(found: Reproduction, vocabulary: int) -> Claim:
    near = [
        gap
        for gap in reversed(gaps(found.runs, vocabulary, HASH))
        if gap.point.share >= ALIKE_FROM - 0.005 and (gap.seeds or gap.point.failed)
    ]
    return Claim(
        "From 30% of the output parameters on, hashing loses less than 0.05 points to full training.",
        "section 4.2, figure 1",
        f"hashing − full ≥ −{WITHIN_POINTS} points at every budget of 30% or more",
        tuple((gap.point.budget, math.nan if gap.point.failed else gap.accuracy.mean) for gap in near),
        all(gap.within_points for gap in near) if near else None,
        vocabulary,
    )


def _mips_beats_hash(found: Reproduction, vocabulary: int) -> Claim:
    return _beats(
        "Exact maximum inner product search is better than hashing.",
        "section 5",
        "exact − hashing > 0 points at every budget that both have",
        vocabulary,
        advantages(found, vocabulary, "mips", HASH),
    )


def _hash_gains_with_vocabulary(found: Reproduction) -> Claim:
    means = []
    for vocabulary in _ends(found):
        apart = [number for _, number in advantages(found, vocabulary, HASH, "random")]
        means.append((f"{vocabulary:,} words", Spread(tuple(apart)).mean))
    return Claim(
        "Hashing is marginally better than random at the smaller vocabulary, and more so at the larger one.",
        "section 5",
        "hashing − random, mean over budgets: at the largest vocabulary more than at the smallest, and > 0 "
        "points",
        *_growing(means),
    )


def _larger_beats_full(found: Reproduction, vocabulary: int) -> Claim:
    return _beats(
        "With 30% of the rows by hashing and a wider FFN, a model within the parameters of the full one is "
        "more accurate.",
        "section 4.3, table 2",
        "gain over full > 0 points within the same parameters",
        vocabulary,
        _paper_gains(found, vocabulary),
    )


def _larger_gains_with_vocabulary(found: Reproduction) -> Claim:
    gains = []
    for vocabulary in _ends(found):
        numbers = tuple(number for _, number in _paper_gains(found, vocabulary))
        gains.append((f"{vocabulary:,} words", Spread(numbers).mean))
    return Claim(
        f"That gain is larger at the larger vocabulary ({_printed_gains()}).",
        "section 4.3, table 2",
        "gain at the largest vocabulary > gain at the smallest, and > 0 points",
        *_growing(gains),
    )


def _unified_grows(found: Reproduction) -> Claim:
    rate, numbers = largest_oov_rate(found), []
    for vocabulary in _ends(found):
        runs = full_runs(found.runs, vocabulary).values()
        unified = Spread(tuple(100 * unified_accuracy(run, rate) for run in runs))
        numbers.append((f"{vocabulary:,} words", unified.mean))
    return Claim(
        "The full model with the larger vocabulary has the better unified accuracy.",
        "section 4.2",
        "unified accuracy of full: larger at the largest vocabulary than at the smallest",
        *_growing(numbers),
        percent=True,
    )


def _printed_gains() -> str:
    return " and ".join(f"+{gain} points at {vocabulary // 1000}K" for vocabulary, gain in GAINS.items())


def _paper_gains(found: Reproduction, vocabulary: int) -> list[tuple[str, float]]:
    """Of the paper's kind of line: hashing, a wider FFN, the same parameters."""
    return [
        (f"FFN {row.first.ffn:,}", math.nan if row.failed else row.gain.mean)
        for row in device_rows(found)
        if (row.vocabulary, row.method, row.capacity, row.limit) == (vocabulary, HASH, "ffn", "parameters")
        and (row.failed or row.gain.values)
    ]


def _ends(found: Reproduction) -> tuple[int, int]:
    return min(found.vocabularies), max(found.vocabularies)


def _beats(text: str, place: str, rule: str, vocabulary: int, numbers: list[tuple[str, float]]) -> Claim:
    """A claim that all numbers are above zero; NaN is not."""
    holds = all(number > 0 for _, number in numbers) if numbers else None
    return Claim(text, place, rule, tuple(numbers), holds, vocabulary)


def _growing(numbers: list[tuple[str, float]]) -> tuple[tuple[tuple[str, float], ...], bool | None]:
    """The numbers that there are, and whether the second is larger than the first, and than zero."""
    there = tuple((name, number) for name, number in numbers if not math.isnan(number))
    return there, there[1][1] > max(0.0, there[0][1]) if len(there) == 2 else None
