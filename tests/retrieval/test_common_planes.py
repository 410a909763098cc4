"""A client's own planes are those that the server would have made for it, had it known the client's rows."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.federated.tail import spread
from hashfed.retrieval import Selection
from hashfed.retrieval.common_planes import LEAST_LEFT, draw_factors, make_common_planes, own_planes
from hashfed.retrieval.planes import make_planes


def drawn_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, Selection, np.ndarray]:
    """Rows, points, U (some certain, some drawn), and ids of a client's own rows, some of them in U."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(8, 40))
    rows = torch.from_numpy(rng.normal(0, 1, (size, 4)).astype(np.float32))
    points = torch.from_numpy(rng.normal(0, 1, (int(rng.integers(1, 5)), 4)).astype(np.float32))
    ids = np.flatnonzero(rng.random(size) < 0.4)
    chances = np.where(rng.random(len(ids)) < 0.5, 1.0, rng.uniform(0.2, 0.9, len(ids)))
    own = np.sort(rng.choice(size, int(rng.integers(1, 4)), replace=False))
    return rows, points, Selection(ids, (-np.log(chances)).astype(np.float32)), own


def merged(selection: Selection, own: np.ndarray) -> Selection:
    """U and the own rows, which are certain."""
    ids = np.union1d(selection.ids, own)
    weight = np.zeros(len(ids), np.float32)
    weight[np.searchsorted(ids, selection.ids)] = selection.log_weight
    weight[np.searchsorted(ids, own)] = 0
    return Selection(ids, weight)


@given(st.integers(0, 10**6))
def test_own_planes_are_those_of_a_server_that_knows_the_rows(seed: int) -> None:
    rows, points, selection, own = drawn_case(seed)
    mine = merged(selection, own)
    made = make_common_planes(rows, points, selection)
    told = make_planes(rows, points, mine)
    if made is None or told is None:
        return
    common, tail = made
    factors = np.ones(len(mine.ids), np.float32)
    factors[np.searchsorted(mine.ids, selection.ids)] = draw_factors(selection.log_weight)
    taken = np.flatnonzero(np.isin(mine.ids, own) & (factors != 0))
    held = rows[torch.from_numpy(mine.ids)]
    found = own_planes(common, held[torch.from_numpy(taken)], held, mine.log_weight)
    if float(found.left.min()) <= 10 * LEAST_LEFT:
        return  # next to nothing is left of a plane: float32 does not tell how much
    for one, other in zip(found.planes.tensors(), told[0].tensors(), strict=True):
        assert torch.allclose(one, other, rtol=2e-3, atol=2e-3)

    # What the client's G does to every row, by its own planes and by the common ones.
    change = torch.from_numpy(np.random.default_rng(seed).normal(0, 1, points.shape).astype(np.float32))
    by_own, by_common = torch.zeros_like(rows), torch.zeros_like(rows)
    spread(rows, [(told[1], change)], by_own)
    shared = found.told(change)
    spread(rows, [(tail, shared)], by_common)
    places = torch.from_numpy(mine.ids[taken])
    by_common[places] -= found.own_push(shared, torch.from_numpy(factors[taken]))
    assert torch.allclose(by_own, by_common, rtol=1e-2, atol=1e-2)


def test_a_plane_by_hand() -> None:
    """Four equal rows, U holds one with certainty: e^A = 3; a client that holds another leaves 2 of 3."""
    rows, points = torch.zeros(4, 2), torch.ones(1, 2)
    common, tail = (
        make_common_planes(rows, points, Selection(np.array([0]), np.zeros(1, np.float32))) or (None,) * 2
    )
    assert common is not None
    assert tail is not None
    assert np.isclose(float(common.log_sums.exp()), 3)
    found = own_planes(common, rows[:1], rows[:2], np.zeros(2, np.float32))
    assert np.isclose(float(found.left), 2 / 3)
    assert np.isclose(float(found.planes.offsets.exp()), 2)
    assert np.isclose(float(found.told(torch.ones(1, 2))[0, 0]), 1.5)


def test_all_rows_in_common_leave_no_tail() -> None:
    assert make_common_planes(torch.zeros(3, 2), torch.ones(1, 2), Selection.all(3)) is None


def test_a_client_that_holds_the_whole_tail_keeps_finite_planes() -> None:
    rows, points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3)
    made = make_common_planes(rows, points, Selection(np.array([0]), np.zeros(1, np.float32)))
    assert made is not None
    found = own_planes(made[0], rows[1:], rows, np.zeros(6, np.float32))
    assert all(bool(torch.isfinite(value).all()) for value in found.planes.tensors())
    assert float(found.left.max()) <= 10 * LEAST_LEFT
