"""Law 2 for low-rank changes: what the clients return for their planes, against a dense computation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated import tail as tail_module
from hashfed.federated.clip import clip_update, norm
from hashfed.federated.messages import LARGEST_CHANGE, Update
from hashfed.federated.sums import RowShares
from hashfed.federated.tail import check_tail_change
from hashfed.retrieval import Selection
from hashfed.retrieval.planes import Tail, make_planes
from summed import mean_of

WIDTH = 3


def a_table(rng: np.random.Generator, size: int) -> torch.Tensor:
    return torch.from_numpy(rng.normal(0, 1, (size, WIDTH)).astype(np.float32))


def a_client(
    rng: np.random.Generator, table: torch.Tensor, count: int, with_planes: bool = True, gram: bool = False
) -> tuple[Update, Tail | None]:
    """An update of random rows, and the tail of its selection."""
    size = len(table)
    ids = np.flatnonzero(rng.random(size) < rng.random())
    chances = np.where(rng.random(len(ids)) < 0.5, 1.0, rng.uniform(0.1, 0.9, len(ids)))
    selection = Selection(ids, (-np.log(chances)).astype(np.float32))
    points = torch.from_numpy(rng.normal(0, 1, (count, WIDTH)).astype(np.float32))
    made = make_planes(table, points, selection, gram=gram) if with_planes else None
    change = None if made is None else torch.from_numpy(rng.normal(0, 1, (count, WIDTH)).astype(np.float32))
    rows = torch.from_numpy(rng.normal(0, 1, (len(ids), WIDTH)).astype(np.float32))
    body = {"b": torch.from_numpy(rng.normal(0, 1, 2).astype(np.float32))}
    weight = int(rng.integers(1, 9))
    update = Update(1, weight, 1.0, body, ids.astype(np.int32), rows, tail=change)
    return update, None if made is None else made[1]


def dense(table: torch.Tensor, update: Update, tail: Tail | None) -> torch.Tensor:
    """The change of every row that a client's update asks for, (n, d) float64."""
    found = torch.zeros(table.shape, dtype=torch.float64)
    if update.ids is None:
        found += update.rows
    else:
        found[update.ids.astype(np.int64)] += update.rows
    if tail is not None and update.tail is not None:
        factors = torch.ones(len(table), dtype=torch.float64)
        factors[tail.ids] = tail.factors.double()
        shares = torch.exp(table.double() @ tail.points.double().T - tail.log_sums.double())
        moved = shares @ update.tail.double() * factors[:, None]
        moved[factors == 0] = 0
        found += moved
    return found


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 40),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    uniform=st.booleans(),
    most=st.sampled_from([1, 4, 1 << 10]),
    tile=st.sampled_from([1, 1 << 18]),
    fewest=st.sampled_from([1, 7, 256]),
)
def test_a_cohort_s_tails_equal_the_dense_sum(
    seed: int, size: int, counts: list[int], uniform: bool, most: int, tile: int, fewest: int
) -> None:
    """Clients with different numbers of points (0: without planes), weights, selections; any tiles."""
    rng = np.random.default_rng(seed)
    table = a_table(rng, size)
    clients = [a_client(rng, table, max(1, count), with_planes=count > 0) for count in counts]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("MOST_POINTS", most), ("TILE_LOGITS", tile), ("FEWEST_ROWS", fewest)):
            patch.setattr(tail_module, name, value)
        shares = RowShares.fresh({"output": size})
        result = mean_of(clients, table, "cohort", shares, uniform)
    weights = [1 if uniform else update.weight for update, _ in clients]
    expected = sum(
        weight * dense(table, *client) for weight, client in zip(weights, clients, strict=True)
    ) / sum(weights)
    assert isinstance(expected, torch.Tensor)
    moved = torch.zeros(table.shape, dtype=torch.float64)
    moved[result.tables["output"].ids] = result.tables["output"].rows.double()
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4)
    # Whoever has a change of the tail moves every row, and so holds all.
    held = np.zeros(size)
    for weight, (update, _) in zip(weights, clients, strict=True):
        assert update.ids is not None
        held[slice(None) if update.tail is not None else update.ids] += weight
    assert result.tables["output"].ids.tolist() == np.flatnonzero(held).tolist()
    assert shares.held["output"].tolist() == held.tolist()


def test_a_tail_by_hand() -> None:
    """One point at zero: each of four rows of the tail has a quarter; one is drawn with chance a half."""
    table = torch.zeros(5, WIDTH)
    selection = Selection(np.array([1, 4]), np.array([0.0, np.log(2)], np.float32))
    made = make_planes(table, torch.zeros(1, WIDTH), selection)
    assert made is not None
    change = torch.tensor([[4.0, 8.0, 0.0]])
    ids, rows = selection.ids.astype(np.int32), torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
    update = Update(1, 3, 1.0, {}, ids, rows, tail=change)
    result = mean_of([(update, made[1])], table, "cohort", RowShares.fresh({"output": 5}))
    assert result.tables["output"].rows.tolist() == [[1, 2, 0], [1, 0, 0], [1, 2, 0], [1, 2, 0], [-1, -2, 1]]


def test_the_sum_does_not_hang_on_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are added at the latest when there are too many points; an update's memory is used again."""
    rng = np.random.default_rng(0)
    table = a_table(rng, 20)
    clients = [a_client(rng, table, 3) for _ in range(4)]
    expected = mean_of(clients, table, "cohort", RowShares.fresh({"output": 20})).tables["output"].rows
    monkeypatch.setattr(tail_module, "MOST_POINTS", 6)
    calls: list[int] = []
    spread = tail_module.spread

    def noted(rows: torch.Tensor, changes: list[Any], *others: Any) -> None:
        calls.append(len(changes))
        spread(rows, changes, *others)

    monkeypatch.setattr(tail_module, "spread", noted)

    def overwritten() -> Any:
        """As where the arrays of an update are a worker's memory."""
        for update, tail in clients:
            assert update.tail is not None
            lent = replace(update, tail=update.tail.clone())
            yield lent, tail
            assert lent.tail is not None
            lent.tail.fill_(torch.nan)

    found = mean_of(overwritten(), table, "cohort", RowShares.fresh({"output": 20})).tables["output"].rows
    assert calls == [2, 2]
    torch.testing.assert_close(found, expected)


@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 5), st.floats(0.01, 3), st.booleans())
def test_the_norm_counts_what_the_tail_is_moved_by(
    seed: int, size: int, count: int, share: float, drop: bool
) -> None:
    """After clipping the dense change has that norm, in the same direction; also where rows were dropped."""
    rng = np.random.default_rng(seed)
    table = a_table(rng, size)
    update, tail = a_client(rng, table, count, gram=True)
    assert update.ids is not None
    if drop:
        kept = rng.random(len(update.ids)) < 0.7
        rows = update.rows[torch.from_numpy(np.flatnonzero(kept))]
        update = replace(update, ids=update.ids[kept], rows=rows)
    before = dense(table, update, tail)
    length = norm([*update.body.values(), before.float()])
    largest = share * length
    assert clip_update(update, largest, tail) == (share < 1) or abs(share - 1) < 1e-4
    after = dense(table, update, tail)
    assert norm([*update.body.values(), after.float()]) == pytest.approx(min(length, largest), rel=2e-4)
    torch.testing.assert_close(after, before * min(1.0, share), rtol=1e-3, atol=1e-5)


def test_an_update_of_the_tail_alone_is_clipped() -> None:
    """A client that holds nothing of what it moves: rows and body are zero."""
    rng = np.random.default_rng(1)
    table = a_table(rng, 30)
    update, tail = a_client(rng, table, 4, gram=True)
    update = replace(update, body={"b": torch.zeros(2)}, rows=torch.zeros_like(update.rows))
    assert update.tail is not None
    update.tail.mul_(1000)
    assert clip_update(update, 0.5, tail)
    assert norm([dense(table, update, tail).float()]) == pytest.approx(0.5, rel=1e-4)


def test_a_norm_needs_what_it_is_made_of() -> None:
    rng = np.random.default_rng(1)
    update, tail = a_client(rng, a_table(rng, 30), 4, gram=False)
    with pytest.raises(ValueError, match="without what a norm needs"):
        clip_update(update, 1.0, tail)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 4), st.sampled_from([1e2, 1e3, 1e4]))
def test_a_change_that_is_accepted_moves_no_row_far(seed: int, size: int, count: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    table = a_table(rng, size)
    update, tail = a_client(rng, table, count)
    if tail is None or update.tail is None:
        return
    change = update.tail * scale
    nothing = replace(update, rows=torch.zeros_like(update.rows), tail=change)
    moved = float(dense(table, nothing, tail).abs().max())
    try:
        check_tail_change(tail, change)
    except HashfedError:
        return
    assert moved <= LARGEST_CHANGE * 1.001


@pytest.mark.parametrize("value", [1e4, -1e4, 1e38, torch.nan, torch.inf])
def test_a_change_that_may_move_a_row_too_far_is_refused(value: float) -> None:
    """Each of its numbers alone would be accepted of a row, but a row of the tail is moved by their sum."""
    selection = Selection(np.array([0]), np.zeros(1, np.float32))
    made = make_planes(torch.zeros(3, WIDTH), torch.zeros(2, WIDTH), selection)
    assert made is not None
    check_tail_change(made[1], torch.full((2, WIDTH), 0.4 * LARGEST_CHANGE))
    with pytest.raises(HashfedError, match=r"change of the tail that may move a row by .*, more than 10000"):
        check_tail_change(made[1], torch.full((2, WIDTH), value))


@given(seed=st.integers(0, 10**6), clients=st.integers(1, 4), size=st.integers(3, 40))
def test_in_bfloat16_it_is_nearly_the_same(seed: int, clients: int, size: int) -> None:
    """Factors and exponentials are rounded to 8 bits, sums are not."""
    rng = np.random.default_rng(seed)
    table = a_table(rng, size)
    made = [a_client(rng, table, int(rng.integers(1, 4))) for _ in range(clients)]
    changes = [(tail, update.tail) for update, tail in made if tail is not None and update.tail is not None]
    exact, found = torch.zeros(size, WIDTH), torch.zeros(size, WIDTH)
    if not changes:
        return
    tail_module.spread(table, changes, exact)
    tail_module.spread(table, changes, found, torch.bfloat16)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05 * float(exact.abs().max()) + 1e-6)


@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1.0, 100.0, 3000.0]),
    precision=st.sampled_from([torch.float32, torch.bfloat16]),
    clip=st.booleans(),
)
def test_no_change_that_is_accepted_moves_a_row_far(
    seed: int, scale: float, precision: torch.dtype, clip: bool
) -> None:
    """Whatever points a client makes up: within what was checked, and with a clipped norm within that."""
    rng = np.random.default_rng(seed)
    table, size = a_table(rng, 60), 60
    points = torch.from_numpy(rng.normal(0, scale, (3, WIDTH)).astype(np.float32))
    ids = np.flatnonzero(rng.random(size) < 0.2)
    weight = np.where(rng.random(len(ids)) < 0.5, 0, 2).astype(np.float32)
    made = make_planes(table, points, Selection(ids, weight), gram=True)
    assert made is not None
    tail, change = made[1], torch.from_numpy(rng.normal(0, 100, (3, WIDTH)).astype(np.float32))
    change[rng.random(3) < 0.3] = 0
    update = Update(1, 1, 1.0, {}, ids.astype(np.int32), torch.zeros(len(ids), WIDTH), tail=change)
    if clip:
        clip_update(update, 1.0, tail)
    assert update.tail is not None
    check_tail_change(tail, update.tail)
    moved = torch.zeros(size, WIDTH)
    tail_module.spread(table, [(tail, update.tail)], moved, precision)
    most = float((tail.reach * update.tail.abs().amax(1)).sum())
    assert bool(torch.isfinite(moved).all())
    # In bfloat16 A may be off by half a nat, and numbers by 1%.
    assert float(moved.abs().max()) <= (1.001 if precision == torch.float32 else 1.7) * most + 1e-6
    if clip and precision == torch.float32:
        assert float(moved.norm()) <= 1.1


def test_a_norm_that_is_not_finite_is_no_short_one() -> None:
    """Squares of moments may overflow where nothing else does."""
    rng = np.random.default_rng(0)
    table = a_table(rng, 9)
    update, tail = a_client(rng, table, 2, gram=True)
    assert tail is not None
    assert tail.gram is not None
    broken = replace(tail, gram=tail.gram * float("nan"))
    with pytest.raises(HashfedError, match="whose norm is not finite"):
        clip_update(update, 1.0, broken)
