import itertools
import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from hashfed import HashfedError
from hashfed.hashing import SimHash
from hashfed.reproduction.buckets import BucketSettings, find_buckets, mean_cosine, principal_plane
from hashfed.tasks.next_word.vocabulary import SPECIAL, Vocabulary

WORDS = ("the", "cat", "dog", "car", "bus", "tram", "to")


def layer(seed: int = 0, bits: int = 2) -> torch.Tensor:
    """Rows in known buckets: cat and dog have bits 01, car, bus and tram 10, the others 11 and 00.

    Bit k of a bucket's number is the sign along direction k; the rows lie along combinations of these.
    """
    directions = SimHash(bits, 1, 8, seed).projections
    dual = torch.linalg.pinv(directions).T
    signs = {"the": (1, 1), "cat": (1, -1), "dog": (1, -1), "to": (-1, -1)}
    scales = {"dog": 3.0, "bus": 2.0}
    rows = torch.zeros(len(SPECIAL) + len(WORDS), 8)
    for rank, word in enumerate(WORDS):
        first, second = signs.get(word, (-1, 1))
        rows[len(SPECIAL) + rank] = scales.get(word, 1.0) * (first * dual[0] + second * dual[1])
    # bus turns away from car, and tram lies between.
    rows[len(SPECIAL) + 4] += 3 * dual[1]
    rows[len(SPECIAL) + 5] += 1 * dual[1]
    return rows


def settings(**changes: object) -> BucketSettings:
    return BucketSettings(**{"bits": 2, "center": False, **changes})  # type: ignore[arg-type]


def test_every_word_is_in_its_bucket() -> None:
    found = find_buckets(layer(), Vocabulary(WORDS), settings())
    assert found.codes.tolist() == [0b11, 0b01, 0b01, 0b10, 0b10, 0b10, 0b00]
    assert found.sizes.tolist() == [1, 2, 3, 1]
    assert found.largest_to_mean == 3 / (7 / 4)
    assert [(bucket.bits, bucket.size, bucket.words) for bucket in found.shown] == [
        ("00", 1, ("to",)),
        ("01", 2, ("cat", "dog")),
        ("10", 3, ("car", "bus", "tram")),
        ("11", 1, ("the",)),
    ]
    assert all(bucket.asked == () for bucket in found.shown)


def test_words_are_cut() -> None:
    found = find_buckets(layer(), Vocabulary(WORDS), settings(words=2))
    assert found.shown[2].words == ("car", "bus")
    assert found.shown[2].size == 3


def test_the_seed_draws_among_buckets_with_words() -> None:
    vocabulary = Vocabulary(tuple(f"w{rank}" for rank in range(30)))
    rows = torch.from_numpy(np.random.default_rng(3).standard_normal((34, 5)).astype(np.float32))
    seen = set()
    for seed in range(8):
        found = find_buckets(rows, vocabulary, BucketSettings(bits=10, buckets=3, seed=seed))
        again = find_buckets(rows, vocabulary, BucketSettings(bits=10, buckets=3, seed=seed))
        assert found.shown == again.shown
        assert len({bucket.number for bucket in found.shown}) == 3
        assert all(bucket.size == len(bucket.words) >= 1 for bucket in found.shown)
        seen.add(found.shown[0].words)
    assert len(seen) > 1


def test_buckets_of_words_asked_for() -> None:
    found = find_buckets(layer(), Vocabulary(WORDS), settings(near=("car", "dog", "car")))
    assert [(bucket.bits, bucket.asked, bucket.words) for bucket in found.shown] == [
        ("10", ("car",), ("car", "tram", "bus")),
        ("01", ("dog",), ("dog", "cat")),
    ]
    found = find_buckets(layer(), Vocabulary(WORDS), settings(near=("tram", "car"), words=2))
    assert [(bucket.asked, bucket.words) for bucket in found.shown] == [(("tram", "car"), ("tram", "car"))]


def test_a_word_without_a_row() -> None:
    vocabulary = Vocabulary(WORDS)
    with pytest.raises(HashfedError, match=r"^--near Cat: not in the vocabulary; did you mean cat or car\?$"):
        find_buckets(layer(), vocabulary, settings(near=("dog", "Cat")))
    with pytest.raises(HashfedError, match=r"^--near zzzz: not in the vocabulary$"):
        find_buckets(layer(), vocabulary, settings(near=("zzzz",)))
    with pytest.raises(HashfedError, match="--near <oov>: not in the vocabulary"):
        find_buckets(layer(), vocabulary, settings(near=("<oov>",)))


def test_centring_undoes_a_common_shift() -> None:
    vocabulary = Vocabulary(WORDS)
    rows = layer()
    rows -= rows.mean(dim=0)
    before = find_buckets(rows, vocabulary, settings())
    # Along the sum of the dual directions both bits of every row become 1.
    shifted = rows + 50.0 * torch.linalg.pinv(SimHash(2, 1, 8, 0).projections).sum(dim=1)
    assert find_buckets(shifted, vocabulary, settings()).sizes.tolist() == [0, 0, 0, 7]
    after = find_buckets(shifted, vocabulary, settings(center=True))
    assert after.codes.tolist() == before.codes.tolist()
    assert after.cosine_in_bucket == pytest.approx(before.cosine_in_bucket, abs=1e-3)


def test_mean_cosine_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    directions = functional.normalize(torch.from_numpy(rng.standard_normal((40, 3))))
    directions[7] = 0.0
    groups = rng.integers(0, 5, 40)
    pairs = [(i, j) for i, j in itertools.combinations(range(40), 2) if groups[i] == groups[j]]
    expected = np.mean([float(directions[i] @ directions[j]) for i, j in pairs])
    assert mean_cosine(directions, groups) == pytest.approx(expected)
    assert mean_cosine(directions, np.arange(40)) is None


def test_rows_around_centres_exceed_rows_without_structure() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((8, 16))
    vocabulary = Vocabulary(tuple(f"w{rank}" for rank in range(400)))
    groups = rng.integers(0, 8, 404)
    around = torch.from_numpy((centres[groups] + 0.3 * rng.standard_normal((404, 16))).astype(np.float32))
    found = find_buckets(around, vocabulary, BucketSettings())
    assert found.cosine_in_bucket is not None
    assert found.cosine_without_structure is not None
    assert found.cosine_in_bucket > 2 * found.cosine_without_structure
    normal = torch.from_numpy(rng.standard_normal((404, 16)).astype(np.float32))
    plain = find_buckets(normal, vocabulary, BucketSettings())
    assert plain.cosine_in_bucket == pytest.approx(plain.cosine_without_structure, abs=0.03)
    # A mean direction that all rows share is no structure.
    shifted = find_buckets(normal + 1.0, vocabulary, BucketSettings(center=False))
    assert shifted.cosine_of_any == pytest.approx(0.5, abs=0.05)
    assert shifted.cosine_in_bucket == pytest.approx(shifted.cosine_without_structure, abs=0.03)


def test_one_word() -> None:
    found = find_buckets(torch.ones(5, 1), Vocabulary(("a",)), BucketSettings(bits=16))
    assert [bucket.words for bucket in found.shown] == [("a",)]
    assert found.cosine_in_bucket is None
    assert found.cosine_of_any is None
    assert len(found.sizes) == 65536


def test_the_result_is_json() -> None:
    found = find_buckets(layer(), Vocabulary(WORDS), settings(near=("cat",)))
    read = json.loads(json.dumps(found.as_dict()))
    assert read["settings"]["near"] == ["cat"]
    assert read["sizes"] == [1, 2, 3, 1]
    assert read["buckets"] == [
        {"number": 1, "bits": "01", "size": 2, "words": ["cat", "dog"], "asked": ["cat"]}
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bits": 0}, "--bits = 0: must be from 1 to 16"),
        ({"bits": 17}, "--bits = 17: must be from 1 to 16"),
        ({"buckets": 0}, "--buckets = 0: must be at least 1"),
        ({"words": -1}, "--words = -1: must be at least 1"),
        ({"seed": -1}, "--seed = -1: must be at least 0"),
    ],
)
def test_numbers_out_of_range(changes: dict[str, int], expected: str) -> None:
    with pytest.raises(HashfedError) as mistake:
        settings(**changes)
    assert str(mistake.value) == expected


def test_the_plane_keeps_the_directions_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((500, 4)) * [0.1, 5.0, 0.2, 2.0] + 7.0
    places, shares = principal_plane(torch.from_numpy(values.astype(np.float32)))
    assert places.shape == (500, 2)
    assert np.abs(np.corrcoef(places[:, 0], values[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(places[:, 1], values[:, 3])[0, 1]) > 0.99
    assert shares.sum() == pytest.approx(29 / 29.05, abs=0.01)
    assert shares[0] > shares[1]


def test_the_plane_of_one_coordinate() -> None:
    places, shares = principal_plane(torch.tensor([[1.0], [3.0]]))
    assert np.abs(places).tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert shares.tolist() == [1.0, 0.0]
    places, shares = principal_plane(torch.ones(3, 2))
    assert places.tolist() == [[0.0, 0.0]] * 3
    assert shares.tolist() == [0.0, 0.0]
