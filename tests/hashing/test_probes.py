from itertools import product

import numpy as np
import pytest
import torch

from hashfed.hashing import SimHash
from hashfed.hashing.probes import likely_sets, probe_masks


def cheapest_masks(margins: np.ndarray, probes: int) -> list[int]:
    """All masks above 0 in the order of the sum of squares of their bits, cut to ``probes``."""
    costs = {
        sum(1 << bit for bit, flip in enumerate(flips) if flip): sum(
            float(margin) ** 2 for margin, flip in zip(margins, flips, strict=True) if flip
        )
        for flips in product([False, True], repeat=len(margins))
    }
    del costs[0]
    return sorted(costs, key=lambda mask: costs[mask])[:probes]


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 10])
@pytest.mark.parametrize("probes", [1, 2, 3, 7, 16, 32])
def test_the_cheapest_perturbations_are_found(bits: int, probes: int) -> None:
    rng = np.random.default_rng(bits * 100 + probes)
    margins = rng.standard_normal((20, bits)) * rng.uniform(0.1, 3, (20, bits))
    found = probe_masks(margins.astype(np.float32), probes)
    assert found.shape == (20, min(probes, 2**bits - 1))
    for margin, masks in zip(margins.astype(np.float32), found, strict=True):
        assert sorted(masks.tolist()) == sorted(cheapest_masks(margin, probes))


def test_two_small_bits_come_before_a_large_one() -> None:
    # Costs: {0} 1, {1} 4, {0, 1} 5, {2} 9.
    found = probe_masks(np.array([[1.0, -2.0, 3.0]], np.float32), 3)
    assert sorted(found[0].tolist()) == [0b001, 0b010, 0b011]


@pytest.mark.parametrize("bits", [1, 4, 16])
def test_equal_margins_still_give_distinct_masks(bits: int) -> None:
    found = probe_masks(np.zeros((3, bits), np.float32), 32)
    for masks in found:
        assert len(set(masks.tolist())) == len(masks) == min(32, 2**bits - 1)
        assert masks.min() > 0
        assert masks.max() < 2**bits


def test_few_sets_can_be_among_the_cheapest() -> None:
    assert len(likely_sets(16, 32)) < 100
    assert len(likely_sets(2, 32)) == 3


@pytest.mark.parametrize(("bits", "tables", "probes"), [(1, 3, 5), (3, 4, 4), (8, 2, 32)])
def test_probing_flips_bits_of_the_hash(
    bits: int, tables: int, probes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash = SimHash(bits, tables, 5, 1)
    vectors = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    found = hash.probe(vectors, probes)
    np.testing.assert_array_equal(found[:, :, 0], hash.hash(vectors))
    products = (vectors @ hash.projections.T).numpy()
    for vector, table in product(range(9), range(tables)):
        margins = products[vector, table::tables]
        expected = {int(found[vector, table, 0]) ^ mask for mask in cheapest_masks(margins, probes)}
        assert set(found[vector, table, 1:].tolist()) == expected
    monkeypatch.setattr("hashfed.hashing.simhash.PROBE_CHUNK", 1)
    np.testing.assert_array_equal(np.sort(hash.probe(vectors, probes)), np.sort(found))


def test_no_probes_is_the_hash() -> None:
    hash = SimHash(4, 3, 5, 1)
    vectors = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(hash.probe(vectors, 0)[:, :, 0], hash.hash(vectors))
