"""What came out, in sentences that hold nothing but numbers."""

from collections.abc import Callable

from hashfed.reproduction.analysis import (
    WITHIN_NATS,
    WITHIN_POINTS,
    Smallest,
    Spread,
    full_runs,
    smallest,
)
from hashfed.reproduction.claims import claims
from hashfed.reproduction.device_budget import DeviceRow, best_gain, device_rows
from hashfed.reproduction.report import texts
from hashfed.reproduction.report.looks import title
from hashfed.reproduction.report.tables import paper_gain, partial_methods
from hashfed.reproduction.results import Reproduction


def heading(found: Reproduction) -> str:
    """Of page and Markdown."""
    return f"hashfed: the paper's experiments on {found.data}"


def about(found: Reproduction) -> str:
    """What this is."""
    seeds = len({run.seed for run in found.runs})
    made = [texts.count(len(found.runs), "run"), f"{texts.count(seeds, 'seed')}"] if found.runs else []
    made += [texts.count(len(found.trials), "trial") + " of settings"] if found.trials else []
    sizes = " and ".join(f"{vocabulary:,}" for vocabulary in found.vocabularies)
    return (
        "The experiments of “Adaptive Sparse Federated Learning in Large Output Spaces via Hashing”, made "
        f"anew, and hashfed's own methods beside them: {', '.join(found.experiments)}; scale {found.scale}; "
        f"{sizes} words" + (f"; {', '.join(made)}." if made else ".")
    )


def sentences(found: Reproduction) -> list[str]:
    """The result."""
    said = []
    for vocabulary in found.vocabularies:
        said += _of_full(found, vocabulary)
        if "figure1" in found.experiments:
            said += _of_budgets(found, vocabulary)
    if "table2" in found.experiments:
        said += _of_devices(found)
    verdicts = [claim.holds for claim in claims(found) if claim.holds is not None]
    if verdicts:
        said.append(
            f"The results agree with {sum(verdicts)} of the {len(verdicts)} claims of the paper that they "
            "test."
        )
    failed = sum(bool(run.failed) for run in found.runs)
    if failed:
        said.append(f"{failed} of {texts.count(len(found.runs), 'run')} failed.")
    if not said and found.parameters:
        said.append(f"The model's parts are counted in {texts.count(len(found.parameters), 'line')}.")
    return said or ["There is no result yet."]


def time_taken(found: Reproduction) -> str:
    """The only sentence that a clock decides; empty where nothing ran."""
    if not found.runs and not found.trials:
        return ""
    return f"All runs and trials together took {texts.duration(found.seconds)}."


def _of_full(found: Reproduction, vocabulary: int) -> list[str]:
    full = tuple(full_runs(found.runs, vocabulary).values())
    if not full:
        return []
    reached = texts.accuracy(Spread(tuple(run.accuracy for run in full)))
    nats = texts.nats(Spread(tuple(run.nll for run in full)))
    floor = found.floors.get(vocabulary, {}).get("bigram_accuracy")
    line = "" if floor is None else f" (a table of word pairs: {100 * floor:.2f}%)"
    return [f"{vocabulary:,} words: full reaches an accuracy of {reached}%{line} and {nats} nats."]


def _of_budgets(found: Reproduction, vocabulary: int) -> list[str]:
    best = [smallest(found.runs, vocabulary, method) for method in partial_methods(found)]
    best = [one for one in best if one.known]
    if not best:
        return []

    def listed(text: Callable[[Smallest], str]) -> str:
        return "; ".join(f"{title(one.method)} {text(one)}" for one in best)

    return [
        f"{vocabulary:,} words, within {WITHIN_POINTS} points of full from: {listed(texts.smallest_points)}.",
        f"{vocabulary:,} words, within {WITHIN_NATS} nats of full from: {listed(texts.smallest_nats)}.",
    ]


def _of_devices(found: Reproduction) -> list[str]:
    rows, said = device_rows(found), []
    for vocabulary in found.vocabularies:
        gains = [
            f"{_gain(row)} within its {'parameters' if limit == 'parameters' else 'measured memory'}"
            for limit in ("parameters", "memory")
            if (row := best_gain(rows, vocabulary, limit)) is not None
        ]
        if gains:
            nearest = next(row for row in rows if row.vocabulary == vocabulary)
            said.append(
                f"{vocabulary:,} words, table 2, largest gain over full: {'; '.join(gains)}; "
                f"the paper: {paper_gain(nearest)}."
            )
    return said


def _gain(row: DeviceRow) -> str:
    return f"{texts.points(row.gain.mean)} points ({title(row.method)}: {texts.size(row.first)})"
