"""The paper's sample buckets, and where a run's SimHash puts their words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PAPER_BUCKETS: tuple[tuple[str, ...], ...] = (
    (
        *("java", "python", "ruby", "spring", "tomcat", "gcc", "swift", "println", "opencv", "openssl"),
        *("activerecord", "gdb", "clang", "webforms", "rpc", "i18n", "nunit", "llvm", "msvc", "apt"),
        *("filenotfoundexception", "openjdk", "teardown", "rejection"),
    ),
    (
        *("problems", "ways", "issues", "questions", "great", "solutions", "tutorials", "major", "bugs"),
        *("conventions", "viable", "disadvantages", "strategies", "interactions", "measures", "useful"),
        *("considerable", "findings", "documentations", "sensors", "reaction", "brilliant", "orthogonal"),
    ),
    (
        *("change", "go", "define", "modify", "ask", "perform", "manage", "determine", "accept", "reset"),
        *("combine", "maintain", "bring", "evaluate", "optimize", "customize", "jump", "automate"),
        *("preserve", "terminate", "associate", "buy", "pip", "synchronize", "eat", "mutate", "assemble"),
        *("recalculate", "optimise", "dotnet", "check-in"),
    ),
)
"""The words of the three buckets that the paper shows (appendix A: Stack Overflow, K = 4), in its order."""
PAPER_BITS = 4
"""K of these buckets."""
PAPER_BUCKET_OF: Mapping[str, int] = {
    word: number for number, words in enumerate(PAPER_BUCKETS, 1) for word in words
}
"""The paper's bucket of each of its words, 1 to 3."""


@dataclass(frozen=True)
class PaperBucket:
    """One of the paper's buckets, as far as a vocabulary has its words.

    Attributes:
        number: in the paper, from 1.
        known: its words that the vocabulary has, in the paper's order.
        missing: its other words.
        ours: the known words by number of our bucket; that with most words first, equals by number.
        shared: how often two different known words share one of our buckets; None where there are no two.

    """

    number: int
    known: tuple[str, ...]
    missing: tuple[str, ...]
    ours: Mapping[int, tuple[str, ...]]
    shared: float | None


@dataclass(frozen=True)
class PaperComparison:
    """Whether our buckets group the paper's words as its own did.

    They do where two words of one of the paper's buckets share ours more often than any two words do, and
    than two words of different ones. Each share counts all pairs, so it is exact.

    Attributes:
        buckets: the paper's.
        shared_of_different: how often two known words of different buckets of the paper share one of ours;
            None where there are no two.
        shared_of_any: how often two different words of the vocabulary do; None where it has one word.

    """

    buckets: tuple[PaperBucket, ...]
    shared_of_different: float | None
    shared_of_any: float | None

    @property
    def known(self) -> int:
        """How many of the paper's words the vocabulary has."""
        return sum(len(bucket.known) for bucket in self.buckets)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "buckets": [
                {
                    "number": bucket.number,
                    "known": list(bucket.known),
                    "missing": list(bucket.missing),
                    "ours": [{"number": ours, "words": list(words)} for ours, words in bucket.ours.items()],
                    "shared": bucket.shared,
                }
                for bucket in self.buckets
            ],
            "shared_of_different": self.shared_of_different,
            "shared_of_any": self.shared_of_any,
        }


def compare_with_paper(words: Sequence[str], codes: np.ndarray, sizes: np.ndarray) -> PaperComparison:
    """Find the paper's words in our buckets.

    Args:
        words: all V words.
        codes: (V,) integers, the bucket of each.
        sizes: (2^K,) integers, how many words each bucket has.

    """
    code_of = {word: int(code) for word, code in zip(words, codes, strict=True) if word in PAPER_BUCKET_OF}
    # counts[p, b]: words of the paper's bucket p in our bucket b.
    counts = np.zeros((len(PAPER_BUCKETS), len(sizes)), np.int64)
    for word, code in code_of.items():
        counts[PAPER_BUCKET_OF[word] - 1, code] += 1
    all_known = counts.sum(axis=0)
    within = [(_pairs(row), _pairs(row.sum())) for row in counts]
    return PaperComparison(
        buckets=tuple(
            PaperBucket(
                number=number,
                known=tuple(word for word in listed if word in code_of),
                missing=tuple(word for word in listed if word not in code_of),
                ours=_by_bucket(listed, code_of),
                shared=_share(*within[number - 1]),
            )
            for number, listed in enumerate(PAPER_BUCKETS, 1)
        ),
        shared_of_different=_share(
            _pairs(all_known) - sum(together for together, _ in within),
            _pairs(all_known.sum()) - sum(pairs for _, pairs in within),
        ),
        shared_of_any=_share(_pairs(sizes), _pairs(sizes.sum())),
    )


def _by_bucket(listed: Sequence[str], code_of: Mapping[str, int]) -> dict[int, tuple[str, ...]]:
    ours: dict[int, tuple[str, ...]] = {}
    for word in listed:
        if word in code_of:
            code = code_of[word]
            ours[code] = (*ours.get(code, ()), word)
    return dict(sorted(ours.items(), key=lambda item: (-len(item[1]), item[0])))


def _pairs(sizes: np.ndarray) -> int:
    """How many pairs there are within groups of ``sizes``."""
    sizes = np.asarray(sizes, np.int64)
    return int((sizes * (sizes - 1) // 2).sum())


def _share(together: int, pairs: int) -> float | None:
    return together / pairs if pairs else None
