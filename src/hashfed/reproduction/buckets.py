"""Sample buckets of a trained run's output rows, with their words (paper, appendix A)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from hashfed.errors import HashfedError
from hashfed.hashing.simhash import MAX_BITS, SimHash
from hashfed.hashing.tables import HashTables
from hashfed.randomness import stream
from hashfed.reproduction.paper_buckets import PaperComparison, compare_with_paper
from hashfed.runs.folder import RunFolder
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import SPECIAL, Vocabulary


@dataclass(frozen=True)
class BucketSettings:
    """What is hashed and how much of it is shown; the command's options of the same names.

    Attributes:
        bits: K, 1 to 16.
        buckets: how many sample buckets, at least 1; fewer where fewer have words.
        words: how many words of each, at least 1.
        seed: of the hash function and of the sample, ≥ 0.
        center: subtract the rows' mean before hashing. They share a mean direction, which without this
            decides most bits of most rows.
        near: words whose buckets are shown instead of a sample; empty for a sample.

    Raises:
        HashfedError: where a number is out of range.

    """

    bits: int = 4
    buckets: int = 6
    words: int = 20
    seed: int = 0
    center: bool = True
    near: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise HashfedError(f"--bits = {self.bits}: must be from 1 to {MAX_BITS}")
        for option, value in (("buckets", self.buckets), ("words", self.words)):
            if value < 1:
                raise HashfedError(f"--{option} = {value}: must be at least 1")
        if self.seed < 0:
            raise HashfedError(f"--seed = {self.seed}: must be at least 0")


@dataclass(frozen=True)
class Bucket:
    """A bucket that is shown.

    Attributes:
        number: in [0, 2^K).
        bits: the number in base 2, K digits.
        size: how many words it has.
        words: some of them. In a sample the most frequent first: their rows have been trained most, so
            they read best. Around ``asked`` words these first, then by cosine with their mean direction.
        asked: those of ``BucketSettings.near`` that lie in it.

    """

    number: int
    bits: str
    size: int
    words: tuple[str, ...]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class Buckets:
    """The words of a run by bucket; special symbols are left out.

    A mean cosine is that of two different words, drawn at random, exactly: of their rows as they are hashed.

    Attributes:
        settings: how they were made.
        words: all V words, most frequent first.
        codes: (V,) int32 bucket number of each word.
        sizes: (2^K,) int64, how many words each bucket has.
        shown: the buckets shown, by number for a sample, else in the order of the words asked for.
        cosine_in_bucket: mean cosine of two words of the same bucket; None where no bucket has two.
        cosine_of_any: of any two words; None where there is one word.
        cosine_without_structure: as ``cosine_in_bucket``, for as many normally distributed rows with the
            same mean and total variance. Words of a bucket have close rows by construction; buckets that
            mean something exceed this.
        paper: the words of the paper's sample buckets in these.

    """

    settings: BucketSettings
    words: tuple[str, ...]
    codes: np.ndarray
    sizes: np.ndarray
    shown: tuple[Bucket, ...]
    cosine_in_bucket: float | None
    cosine_of_any: float | None
    cosine_without_structure: float | None
    paper: PaperComparison

    @property
    def largest_to_mean(self) -> float:
        """The largest bucket's size over the mean of all 2^K."""
        return float(self.sizes.max() / self.sizes.mean())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "settings": asdict(self.settings),
            "words": len(self.words),
            "sizes": self.sizes.tolist(),
            "largest_to_mean": self.largest_to_mean,
            "cosine_in_bucket": self.cosine_in_bucket,
            "cosine_of_any": self.cosine_of_any,
            "cosine_without_structure": self.cosine_without_structure,
            "buckets": [asdict(bucket) for bucket in self.shown],
            "paper": self.paper.as_dict(),
        }


def read_rows(run: RunFolder) -> tuple[torch.Tensor, Vocabulary]:
    """The output rows (n, d) float32 of a run's last checkpoint, and its vocabulary of n rows.

    Raises:
        HashfedError: where the folder is no run with a checkpoint, or its rows are unusable.

    """
    NextWordSettings.of(run.config().data)
    parameters = run.parameters()
    vocabulary: Vocabulary = run.names()
    if not bool(torch.isfinite(parameters.rows).all()):
        raise HashfedError(f"{run.path}: has rows that are not finite; the training has diverged")
    return parameters.rows, vocabulary


def find_buckets(rows: torch.Tensor, vocabulary: Vocabulary, settings: BucketSettings) -> Buckets:
    """Hash the rows with one SimHash of K bits, and sample its buckets.

    Args:
        rows: (n, d) float32, finite, those of the special symbols first.
        vocabulary: of these rows.
        settings: how many bits, buckets and words.

    Raises:
        HashfedError: where a word of ``settings.near`` has no row.

    """
    near = _ranks(settings.near, vocabulary)
    # The mean is over all rows, as in the index of a training.
    hashed = (rows - rows.mean(dim=0) if settings.center else rows)[len(SPECIAL) :]
    simhash = SimHash(settings.bits, 1, rows.shape[1], settings.seed)
    codes = simhash.hash(hashed)
    tables = HashTables.build(codes, settings.bits)
    codes = codes[:, 0]
    sizes = np.diff(tables.starts)
    directions = functional.normalize(hashed.double())
    if near:
        numbers = list(dict.fromkeys(codes[near].tolist()))
    else:
        filled = np.flatnonzero(sizes)
        count = min(settings.buckets, len(filled))
        drawn = stream(settings.seed, "sample buckets").choice(filled, count, replace=False)
        numbers = np.sort(drawn).tolist()
    shown = []
    for number in numbers:
        # Ascending: the most frequent word first.
        members = tables.bucket(number)
        asked = [rank for rank in near if codes[rank] == number]
        if asked:
            members = _nearest(members, asked, directions)
        shown.append(
            Bucket(
                number=number,
                bits=format(number, f"0{settings.bits}b"),
                size=len(members),
                words=tuple(vocabulary.words[rank] for rank in members[: settings.words]),
                asked=tuple(vocabulary.words[rank] for rank in asked),
            )
        )
    unstructured = _rows_without_structure(hashed, settings.seed)
    return Buckets(
        settings=settings,
        words=vocabulary.words,
        codes=codes,
        sizes=sizes,
        shown=tuple(shown),
        cosine_in_bucket=mean_cosine(directions, codes),
        cosine_of_any=mean_cosine(directions, np.zeros_like(codes)),
        cosine_without_structure=mean_cosine(
            functional.normalize(unstructured.double()), simhash.hash(unstructured)[:, 0]
        ),
        paper=compare_with_paper(vocabulary.words, codes, sizes),
    )


def mean_cosine(directions: torch.Tensor, groups: np.ndarray) -> float | None:
    """Mean cosine over all pairs of different rows of the same group; None where there is no pair.

    Exact without a product for each pair: over a group Σ_{i≠j} u_i·u_j = ‖Σ u_i‖² − Σ ‖u_i‖².

    Args:
        directions: (n, d) float64, of length 1 (or 0).
        groups: (n,) integers ≥ 0.

    """
    counts = np.bincount(groups)
    pairs = int((counts * (counts - 1)).sum())
    if pairs == 0:
        return None
    sums = torch.zeros(len(counts), directions.shape[1], dtype=torch.float64)
    sums.index_add_(0, torch.from_numpy(groups.astype(np.int64)), directions)
    return float(sums.square().sum() - directions.square().sum()) / pairs


def principal_plane(rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Where ``rows`` (n, d) lie in the plane in which they vary most (principal components).

    Returns:
        Places (n, 2) float64, and the two directions' shares (2,) of the variance.

    """
    values = rows.double().numpy()
    values = values - values.mean(axis=0)
    variances, vectors = np.linalg.eigh(values.T @ values)
    # A row of one coordinate has no second direction.
    leading = np.zeros((values.shape[1], 2))
    shares = np.zeros(2)
    kept = min(2, values.shape[1])
    leading[:, :kept] = vectors[:, ::-1][:, :kept]
    shares[:kept] = variances[::-1][:kept] / max(float(variances.sum()), np.finfo(float).tiny)
    # Eigenvectors have no sign; fix it, so that a picture can be compared with another.
    strongest = leading[np.abs(leading).argmax(axis=0), range(2)]
    return values @ (leading * np.where(strongest < 0, -1.0, 1.0)), shares


def _ranks(words: Sequence[str], vocabulary: Vocabulary) -> list[int]:
    """The positions of distinct ``words`` among the vocabulary's words."""
    for word in words:
        if word not in vocabulary.ids:
            close = get_close_matches(word.lower(), vocabulary.words, n=3)
            meant = f"; did you mean {' or '.join(close)}?" if close else ""
            raise HashfedError(f"--near {word}: not in the vocabulary{meant}")
    return [vocabulary.ids[word] - len(SPECIAL) for word in dict.fromkeys(words)]


def _rows_without_structure(hashed: torch.Tensor, seed: int) -> torch.Tensor:
    """Normally distributed rows, of the shape, mean and total variance of ``hashed`` (n, d) float32."""
    normal = stream(seed, "rows without structure").standard_normal(hashed.shape, dtype=np.float32)
    deviation = hashed.var(dim=0, correction=0).mean().sqrt()
    # Where all rows are equal there is no deviation; any gives rows without structure.
    return hashed.mean(dim=0) + torch.from_numpy(normal) * (deviation if deviation > 0 else 1.0)


def _nearest(members: np.ndarray, asked: list[int], directions: torch.Tensor) -> np.ndarray:
    """The ``asked`` members first, the others by falling cosine with the mean direction of these."""
    cosines = (directions[torch.from_numpy(members).long()] @ directions[asked].mean(dim=0)).numpy()
    ordered = members[np.argsort(-cosines, kind="stable")]
    return np.concatenate([np.array(asked, members.dtype), ordered[~np.isin(ordered, asked)]])
