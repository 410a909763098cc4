from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hashfed.models import Batch, Targets

NO_TARGETS = Targets(torch.empty(0, dtype=torch.int64))


def test_targets_of_one_row_each() -> None:
    targets = Targets(torch.tensor([4, 4, 1]))
    assert len(targets) == 3
    assert targets.owners.tolist() == [0, 1, 2]
    assert [part.rows.tolist() for part in targets.split(2)] == [[4, 4], [1]]
    assert all(part.counts is None for part in targets.split(2))


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=9), st.integers(1, 10)
)
def test_targets_of_several_rows(sets: list[list[int]], most: int) -> None:
    targets = Targets(
        torch.tensor([row for some in sets for row in some]), torch.tensor([len(some) for some in sets])
    )
    assert len(targets) == len(sets)
    assert targets.owners.tolist() == [owner for owner, some in enumerate(sets) for _ in some]
    start = 0
    for part in targets.split(most):
        assert len(part) <= most
        for query in range(len(part)):
            assert part.rows[part.owners == query].tolist() == sets[start + query]
        start += len(part)
    assert start == len(sets)


def queries(tables: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
    """What a model may do with two columns of one table and one of another."""
    one, two, other = (
        functional.embedding(batch.columns[name], tables[batch.tables[name]])
        for name in ("one", "two", "other")
    )
    return (one.sum(1) * two + other.square().sum((1, 2)).sin()[:, None]).square() * batch.columns["factor"]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=25)
def test_gradients_of_the_touched_rows_are_all_there_are(count: int, length: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    tables = {"first": torch.randn(12, 3, generator=draw), "second": torch.randn(7, 3, generator=draw)}
    batch = Batch(
        columns={
            "one": torch.randint(12, (count, length), generator=draw),
            "factor": torch.randn(count, 1, generator=draw),
            "other": torch.randint(7, (count, length, 2), generator=draw),
            "two": torch.randint(12, (count,), generator=draw),
        },
        tables={"one": "first", "other": "second", "two": "first"},
        targets=NO_TARGETS,
    )
    whole = {name: rows.clone().requires_grad_() for name, rows in tables.items()}
    expected = queries(whole, batch)
    expected.sum().backward()

    small, touched = batch.touched(tables)
    assert set(touched) == set(tables)
    found = queries({name: part.rows for name, part in touched.items()}, small)
    assert torch.equal(found, expected)
    found.sum().backward()
    for name, rows in tables.items():
        part, gradient = touched[name], whole[name].grad
        named = [batch.columns[column] for column, table in batch.tables.items() if table == name]
        assert part.index.tolist() == sorted({id for ids in named for id in ids.flatten().tolist()})
        moved = rows.clone()
        part.add_gradient(moved, -0.5)
        assert gradient is not None
        torch.testing.assert_close(moved, rows - 0.5 * gradient)
    # Neither the batch nor the tables are changed.
    assert batch.columns["two"].max() < 12
    assert all(rows.grad is None and not rows.requires_grad for rows in tables.values())
    assert torch.equal(small.columns["factor"], batch.columns["factor"])
    assert small.targets is batch.targets


def test_rows_that_no_query_depends_on_have_no_gradient() -> None:
    table = torch.ones(4, 2)
    batch = Batch({"ids": torch.tensor([3, 1])}, {"ids": "first"}, NO_TARGETS)
    _, touched = batch.touched({"first": table})
    touched["first"].add_gradient(table, 1.0)
    assert torch.equal(table, torch.ones(4, 2))


def test_a_batch_without_tables_touches_nothing() -> None:
    batch = Batch({"values": torch.ones(2, 3)}, {}, NO_TARGETS)
    small, touched = batch.touched({"first": torch.ones(4, 2)})
    assert touched == {}
    assert small.columns["values"] is batch.columns["values"]


def test_a_batch_may_touch_none() -> None:
    """As one whose examples have no feature at all."""
    batch = Batch({"ids": torch.empty(0, dtype=torch.int64)}, {"ids": "first"}, NO_TARGETS)
    small, touched = batch.touched({"first": torch.ones(4, 2)})
    assert touched["first"].rows.shape == (0, 2)
    assert small.columns["ids"].shape == (0,)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 1, 2)])
def test_columns_keep_their_shape(shape: tuple[int, ...]) -> None:
    ids = torch.tensor([5, 2, 2, 9, 5, 0]).view(shape)
    small, touched = Batch({"ids": ids, "more": ids[:1]}, {"ids": "t", "more": "t"}, NO_TARGETS).touched(
        {"t": torch.arange(10.0)[:, None]}
    )
    assert small.columns["ids"].shape == ids.shape
    assert torch.equal(touched["t"].rows[small.columns["ids"]].squeeze(-1), ids.float())
    assert torch.equal(touched["t"].rows[small.columns["more"]].squeeze(-1), ids[:1].float())
