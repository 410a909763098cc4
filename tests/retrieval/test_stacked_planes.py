"""Planes of many clients at once are those of each by itself."""

import numpy as np
import pytest
import torch

from hashfed.federated.tail import spread, spread_stacked
from hashfed.retrieval import Selection
from hashfed.retrieval.planes import make_planes
from hashfed.retrieval.stacked_planes import StackedPlanes, StackedTails, make_stacked_planes
from hashfed.retrieval.stacked_powers import StackedPowers

SIZE, WIDTH = 40, 5


def clients(seed: int) -> tuple[torch.Tensor, list[torch.Tensor], list[Selection]]:
    """Of several numbers of points, none among them; some have no draw, one holds everything."""
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.normal(0, 0.7, (SIZE, WIDTH)).astype(np.float32))
    points, selections = [], []
    for client, count in enumerate((1, 3, 3, 0, 4, 2, 3)):
        points.append(torch.from_numpy(rng.normal(0, 1, (count, WIDTH)).astype(np.float32)))
        ids = np.arange(SIZE) if client == 2 else np.flatnonzero(rng.random(SIZE) < 0.5)
        chances = np.where(rng.random(len(ids)) < 0.4, 1.0, rng.uniform(0.05, 0.9, len(ids)))
        if client in (2, 4):
            chances[:] = 1
        selections.append(Selection(ids, (-np.log(chances)).astype(np.float32)))
    selections[5] = Selection(selections[5].ids, np.full(len(selections[5].ids), 0.5, np.float32))
    return rows, points, selections


def made(
    rows: torch.Tensor,
    points: list[torch.Tensor],
    selections: list[Selection],
    precision: torch.dtype = torch.float32,
    gram: bool = False,
    most: int = 10**6,
) -> StackedPlanes:
    powers = StackedPowers.of(rows, points)
    assert powers is not None
    found = make_stacked_planes(rows, powers, selections, precision, gram, most)
    assert found is not None
    return found


@pytest.mark.parametrize("gram", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
@pytest.mark.parametrize("most", [1, 300, 10**6])
def test_they_are_those_of_each_client(gram: bool, precision: torch.dtype, most: int) -> None:
    rows, points, selections = clients(3)
    found = made(rows, points, selections, precision, gram, most)
    assert found.tails.counts == [1, 3, 0, 0, 4, 2, 3]
    tolerance = 1e-5 if precision == torch.float32 else 2e-3
    for client, (of, selection) in enumerate(zip(points, selections, strict=True)):
        alone, together = make_planes(rows, of, selection, precision, gram), found.of(client)
        if alone is None:
            assert together is None
            continue
        assert together is not None
        for one, other in zip(alone[0].tensors(), together[0].tensors(), strict=True):
            assert one.dtype == other.dtype
            torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance)
        for name, value in vars(alone[1]).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(value, getattr(together[1], name))
            elif value is not None:
                torch.testing.assert_close(getattr(together[1], name), value, rtol=1e-5, atol=1e-5)
        assert (together[1].gram is not None) == gram


def test_they_are_joined_and_taken_apart() -> None:
    rows, points, selections = clients(4)
    whole = made(rows, points, selections)
    first, second = made(rows, points[:2], selections[:2]), made(rows, points[2:], selections[2:])
    joined = StackedPlanes.join([first, second, first.none()])
    assert joined.tails.counts == [*whole.tails.counts, 0]
    assert bool((joined.planes.offsets[-1] == -torch.inf).all())
    taken = joined.take([7, 4, 0])
    for place, client in ((1, 4), (2, 0)):
        one, other = whole.of(client), taken.of(place)
        assert one is not None
        assert other is not None
        for value, expected in zip(other[0].tensors(), one[0].tensors(), strict=True):
            torch.testing.assert_close(value, expected)
        assert np.array_equal(one[1].ids, other[1].ids)
    assert taken.of(0) is None


def test_what_they_change_is_what_each_changes() -> None:
    rows, points, selections = clients(5)
    found = made(rows, points, selections)
    there = [one for client in range(len(points)) if (one := found.of(client)) is not None]
    changes = [torch.randn(len(tail.points), WIDTH) for _, tail in there]
    expected, summed = torch.zeros_like(rows), torch.zeros_like(rows)
    for (_, tail), moved in zip(there, changes, strict=True):
        spread(rows, [(tail, moved)], expected)
    stacked = torch.zeros(len(points), 4, WIDTH)
    for place, change in zip(
        [c for c, count in enumerate(found.tails.counts) if count], changes, strict=True
    ):
        stacked[place, : len(change)] = change
    spread_stacked(rows, found.tails, stacked, summed)
    torch.testing.assert_close(summed, expected, rtol=1e-5, atol=1e-5)
    assert isinstance(found.tails.part(slice(0, 2)), StackedTails)


def test_sums_that_are_not_exact_are_left_to_others() -> None:
    rows, points, selections = clients(6)
    powers = StackedPowers.of(rows, points)
    assert powers is not None
    rest = np.setdiff1d(np.arange(SIZE), [7])
    powers.values[0, 7] = 0
    selections[0] = Selection(rest, np.zeros(len(rest), np.float32))
    assert make_stacked_planes(rows, powers, selections, torch.float32, False, 10**6) is None
