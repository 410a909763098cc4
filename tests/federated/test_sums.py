import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.federated.messages import Update
from hashfed.federated.sums import PseudoGradient, RowShares, _move_to_front
from summed import mean_of


def update(ids: list[int] | None, rows: list[list[float]], weight: int, body: float = 0.0) -> Update:
    array = None if ids is None else np.array(ids, np.int32)
    return Update(1, weight, float(weight), {"b": torch.tensor([body])}, array, torch.tensor(rows))


def aggregate(
    updates: Iterable[Update],
    size: int,
    rule: Any,
    shares: RowShares,
    uniform: bool = False,
    dimension: int = 1,
) -> PseudoGradient:
    """Of clients that were sent no planes."""
    pairs = ((update, None) for update in updates)
    return mean_of(pairs, torch.zeros(size, dimension), rule, shares, uniform)


def test_the_three_row_averages_by_hand() -> None:
    # Row 0 is held by both clients (weights 1 and 3), row 2 by the second alone, row 1 by none.
    updates = [update([0], [[4.0]], 1, 8.0), update([0, 2], [[8.0], [2.0]], 3, 4.0)]
    expected = {"cohort": [[7.0], [1.5]], "holders": [[7.0], [2.0]], "fedsubavg": [[7.0], [2.0]]}
    for rule, rows in expected.items():
        shares = RowShares.fresh({"output": 3})
        result = aggregate(updates, 3, rule, shares)
        assert result.tables["output"].ids.tolist() == [0, 2]
        assert result.tables["output"].rows.tolist() == rows
        assert result.body["b"].tolist() == [5.0]
        assert result.loss == (1 * 1 + 3 * 3) / 4
        assert shares.held["output"].tolist() == [4.0, 0.0, 3.0]


def test_fedsubavg_divides_by_the_share_over_all_rounds() -> None:
    shares = RowShares.fresh({"output": 3})
    aggregate([update([0, 2], [[1.0], [1.0]], 1)], 3, "fedsubavg", shares)
    second = aggregate([update([0], [[6.0]], 1), update([2], [[6.0]], 2)], 3, "fedsubavg", shares)
    # Row 0: held by weight 2 of 4, sum 6, cohort 3. Row 2: held by weight 3 of 4, sum 12, cohort 3.
    assert shares.total == 4
    np.testing.assert_allclose(
        second.tables["output"].rows.numpy(), [[6 / (3 * 0.5)], [12 / (3 * 0.75)]], rtol=1e-6
    )


def test_uniform_weights() -> None:
    updates = [update([0], [[4.0]], 1), update([0], [[8.0]], 3)]
    assert aggregate(updates, 1, "cohort", RowShares.fresh({"output": 1}), uniform=True).tables[
        "output"
    ].rows.tolist() == [[6.0]]


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 12), st.sampled_from(["cohort", "holders"])
)
def test_sparse_equals_dense_aggregation_of_the_scattered_changes(
    seed: int, clients: int, size: int, rule: str
) -> None:
    rng = np.random.default_rng(seed)
    updates, dense, held, total = [], torch.zeros(size, 3), np.zeros(size), 0.0
    for _ in range(clients):
        ids = np.sort(rng.choice(size, rng.integers(1, size + 1), replace=False))
        rows = torch.from_numpy(rng.standard_normal((len(ids), 3)).astype(np.float32))
        weight = int(rng.integers(1, 9))
        updates.append(Update(1, weight, 0.0, {}, ids.astype(np.int32), rows))
        scattered = torch.zeros(size, 3)
        scattered[torch.from_numpy(ids)] = rows
        dense += weight * scattered
        held[ids] += weight
        total += weight
    result = aggregate(updates, size, rule, RowShares.fresh({"output": size}), dimension=3)
    divisor = np.full(size, total) if rule == "cohort" else np.maximum(held, 1)
    expected = dense / torch.from_numpy(divisor.astype(np.float32))[:, None]
    assert result.tables["output"].ids.tolist() == np.flatnonzero(held).tolist()
    torch.testing.assert_close(
        result.tables["output"].rows,
        expected[torch.from_numpy(result.tables["output"].ids)],
        rtol=1e-6,
        atol=1e-7,
    )


def test_a_full_update_without_ids_equals_one_that_names_all() -> None:
    rows = [[1.0], [2.0]]
    one = aggregate([update(None, rows, 2)], 2, "cohort", RowShares.fresh({"output": 2}))
    two = aggregate([update([0, 1], rows, 2)], 2, "cohort", RowShares.fresh({"output": 2}))
    assert torch.equal(one.tables["output"].rows, two.tables["output"].rows)
    assert one.tables["output"].ids.tolist() == two.tables["output"].ids.tolist()


def test_an_unheld_table_is_never_returned_whole() -> None:
    result = aggregate([update([5], [[1.0]], 1)], 1000, "cohort", RowShares.fresh({"output": 1000}))
    assert result.tables["output"].rows.shape == (1, 1)


@pytest.mark.parametrize("rule", ["cohort", "holders", "fedsubavg"])
def test_one_client_gets_its_own_change(rule: str) -> None:
    result = aggregate([update([0, 1], [[3.0], [4.0]], 7)], 2, rule, RowShares.fresh({"output": 2}))
    np.testing.assert_allclose(result.tables["output"].rows.numpy(), [[3.0], [4.0]], rtol=1e-6)


def test_an_update_is_let_go_before_the_next_is_asked_for() -> None:
    """Memory does not grow with the cohort."""
    before: list[weakref.ref[Update]] = []

    def updates() -> Iterator[Update]:
        for number in range(5):
            assert all(reference() is None for reference in before[:-1])
            one = update([number], [[5.0]], 1)
            before.append(weakref.ref(one))
            yield one
            del one

    assert (
        aggregate(updates(), 5, "cohort", RowShares.fresh({"output": 5})).tables["output"].rows.tolist()
        == [[1.0]] * 5
    )


@given(size=st.integers(1, 40), chunk=st.integers(1, 9), seed=st.integers(0, 99))
def test_rows_move_to_the_front_in_place(size: int, chunk: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.random((size, 2)))
    ids = np.flatnonzero(rng.random(size) < 0.5)
    expected = rows[torch.from_numpy(ids)].clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hashfed.federated.sums.CHUNK", chunk)
        moved = _move_to_front(rows, ids)
    assert torch.equal(moved, expected)
    assert moved.data_ptr() == rows.data_ptr() or len(ids) == 0
