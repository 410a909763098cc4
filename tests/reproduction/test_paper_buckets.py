import itertools
import json

import numpy as np
import pytest

from hashfed.reproduction.paper_buckets import (
    PAPER_BUCKET_OF,
    PAPER_BUCKETS,
    compare_with_paper,
)


def test_the_words_are_those_of_the_paper() -> None:
    assert [len(words) for words in PAPER_BUCKETS] == [24, 23, 31]
    assert len(PAPER_BUCKET_OF) == 24 + 23 + 31
    assert [words[0] for words in PAPER_BUCKETS] == ["java", "problems", "change"]
    assert [words[-1] for words in PAPER_BUCKETS] == ["rejection", "orthogonal", "check-in"]
    assert (PAPER_BUCKET_OF["python"], PAPER_BUCKET_OF["great"], PAPER_BUCKET_OF["maintain"]) == (1, 2, 3)


def test_a_comparison_by_hand() -> None:
    words = ("x", "python", "java", "ruby", "great", "useful", "change", "y")
    codes = np.array([3, 1, 1, 2, 1, 0, 3, 3])
    found = compare_with_paper(words, codes, np.array([1, 3, 1, 3]))
    first, second, third = found.buckets
    assert (first.number, first.known, first.shared) == (1, ("java", "python", "ruby"), 1 / 3)
    assert list(first.ours.items()) == [(1, ("java", "python")), (2, ("ruby",))]
    assert (len(first.missing), first.missing[:2]) == (21, ("spring", "tomcat"))
    # One word in each of two buckets: by number.
    assert list(second.ours.items()) == [(0, ("useful",)), (1, ("great",))]
    assert second.shared == 0
    assert (third.known, third.shared) == (("change",), None)
    # Of 15 pairs 3 + 1 are of one of the paper's buckets; great lies with java and python.
    assert found.shared_of_different == 2 / 11
    assert found.shared_of_any == (3 + 3) / 28
    assert found.known == 6


def test_shares_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    words = [*rng.permutation(sorted(PAPER_BUCKET_OF))[:50].tolist(), *(f"w{i}" for i in range(30))]
    codes = rng.integers(0, 8, len(words)).astype(np.int32)
    found = compare_with_paper(words, codes, np.bincount(codes, minlength=8))
    together: dict[str, list[bool]] = {"any": [], "different": [], "1": [], "2": [], "3": []}
    for i, j in itertools.combinations(range(len(words)), 2):
        same = bool(codes[i] == codes[j])
        together["any"].append(same)
        first, second = (PAPER_BUCKET_OF.get(words[k]) for k in (i, j))
        if first and second:
            together[str(first) if first == second else "different"].append(same)
    assert found.shared_of_any == pytest.approx(np.mean(together["any"]))
    assert found.shared_of_different == pytest.approx(np.mean(together["different"]))
    for bucket in found.buckets:
        assert bucket.shared == pytest.approx(np.mean(together[str(bucket.number)]))


def test_a_vocabulary_without_the_words() -> None:
    found = compare_with_paper(("a",), np.array([2]), np.array([0, 0, 1, 0]))
    assert found.known == 0
    assert (found.shared_of_different, found.shared_of_any) == (None, None)
    assert all(bucket.shared is None and not bucket.ours for bucket in found.buckets)
    assert [len(bucket.missing) for bucket in found.buckets] == [24, 23, 31]


def test_the_comparison_is_json() -> None:
    found = compare_with_paper(("gdb", "bugs"), np.array([1, 1]), np.array([0, 2]))
    read = json.loads(json.dumps(found.as_dict()))
    assert read["buckets"][0]["known"] == ["gdb"]
    assert read["buckets"][0]["ours"] == [{"number": 1, "words": ["gdb"]}]
    assert read["buckets"][2] == {
        "number": 3,
        "known": [],
        "missing": list(PAPER_BUCKETS[2]),
        "ours": [],
        "shared": None,
    }
    assert (read["shared_of_different"], read["shared_of_any"]) == (1.0, 1.0)
