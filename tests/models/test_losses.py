"""Losses over sets of targets against autograd on the formula as it is written, in float64."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from hashfed.models import OutputGradients, Targets, WorkSpace, output_layer
from hashfed.models.losses import LOSSES, Loss
from hashfed.retrieval.planes import Planes

SOFTMAX, BINARY = LOSSES["softmax"].gradients, LOSSES["binary"].gradients


def make_targets(sets: Sequence[Sequence[int]]) -> Targets:
    """Sets of rows, one for each query."""
    rows = torch.tensor([row for some in sets for row in some])
    return Targets(rows, torch.tensor([len(some) for some in sets]))


def softmax_formula(
    queries: torch.Tensor, rows: torch.Tensor, log_weight: torch.Tensor | None, hits: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy with 1/|y| at each of a query's targets; ``hits`` is (p, m)."""
    chances = functional.linear(queries, rows, log_weight).log_softmax(1)
    return -(hits / hits.sum(1, keepdim=True) * chances).sum(1).mean()


def binary_formula(
    queries: torch.Tensor, rows: torch.Tensor, log_weight: torch.Tensor | None, hits: torch.Tensor
) -> torch.Tensor:
    """One logistic loss for each row, as often as it stands for rows."""
    logits = queries @ rows.T
    each = functional.binary_cross_entropy_with_logits(logits, hits, reduction="none")
    weight = torch.ones(len(rows), dtype=rows.dtype) if log_weight is None else log_weight.exp()
    return (each @ weight).mean()


FORMULAS = {"softmax": softmax_formula, "binary": binary_formula}


def test_every_loss_is_compared() -> None:
    assert FORMULAS.keys() == LOSSES.keys()


def by_rows(found: OutputGradients, rows: torch.Tensor) -> torch.Tensor:
    """The gradient by the rows."""
    table = torch.zeros_like(rows)
    found.add_to(table, 1.0)
    return table


@given(
    name=st.sampled_from(sorted(FORMULAS)),
    count=st.integers(1, 12),
    size=st.integers(1, 60),
    weighted=st.booleans(),
    scale=st.sampled_from([0.0, 0.1, 1.0, 30.0, 1000.0]),
    block=st.sampled_from([1, 64, 1 << 17]),
    most=st.sampled_from([1, 150, 1 << 25]),
    data=st.data(),
)
def test_equals_autograd(
    name: str, count: int, size: int, weighted: bool, scale: float, block: int, most: int, data: st.DataObject
) -> None:
    """Whatever the sets, the blocks, the chunks, and the size of the logits."""
    draw = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    queries = scale * torch.randn(count, 5, generator=draw)
    rows = torch.randn(size, 5, generator=draw)
    some = st.lists(st.integers(0, size - 1), min_size=1, max_size=4, unique=True)
    sets = data.draw(st.lists(some, min_size=count, max_size=count))
    log_weight = torch.rand(size, generator=draw) * 3 if weighted else None
    if log_weight is not None and name == "binary":
        log_weight[[row for targets in sets for row in targets]] = 0.0  # targets are held for sure
    hits = torch.zeros(count, size, dtype=torch.float64)
    for query, targets in enumerate(sets):
        hits[query, targets] = 1
    wide_queries, wide_rows = queries.double().requires_grad_(), rows.double().requires_grad_()
    wide_weight = None if log_weight is None else log_weight.double()
    expected = FORMULAS[name](wide_queries, wide_rows, wide_weight, hits)
    expected.backward()
    assert wide_queries.grad is not None
    assert wide_rows.grad is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_layer, "BLOCK_LOGITS", block)
        patch.setattr(output_layer, "MAX_LOGITS", most)
        found = LOSSES[name].gradients(queries, rows, log_weight, make_targets(sets), WorkSpace())
        moved = rows.clone()
        found.add_to(moved, -0.5)
    tolerance = 2e-5 * max(1.0, scale)
    assert found.tail is None
    assert found.bounded == 0
    assert torch.allclose(found.loss.double(), expected.detach(), rtol=1e-4, atol=tolerance)
    size_of = max(1.0, float(wide_queries.grad.abs().max()))
    assert torch.allclose(found.queries.double(), wide_queries.grad, rtol=1e-4, atol=1e-5 * size_of)
    # A row that stands for several moves as one.
    gradient = wide_rows.grad if wide_weight is None else wide_rows.grad * torch.exp(-wide_weight)[:, None]
    assert torch.allclose(moved.double(), rows.double() - 0.5 * gradient, rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("most", [1, 150, 1 << 25])
@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_sets_of_one_are_plain_targets_bit_for_bit(
    name: str, most: int, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_layer, "MAX_LOGITS", most)
    draw = torch.Generator().manual_seed(5)
    queries, rows = torch.randn(13, 7, generator=draw), torch.randn(40, 7, generator=draw)
    targets = torch.randint(40, (13,), generator=draw)
    log_weight = torch.rand(40, generator=draw) if weighted else None
    plain, sets = (
        LOSSES[name].gradients(queries, rows, log_weight, Targets(targets, counts), WorkSpace())
        for counts in (None, torch.ones(13, dtype=torch.int64))
    )
    assert torch.equal(plain.loss, sets.loss)
    assert torch.equal(plain.queries, sets.queries)
    assert torch.equal(by_rows(plain, rows), by_rows(sets, rows))


def test_softmax_of_two_targets_by_hand() -> None:
    """Rows weigh 1, 2 and 5 of 8; the targets are the first two."""
    queries, rows = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    found = SOFTMAX(queries, rows, None, make_targets([[0, 1]]), WorkSpace())
    assert float(found.loss) == pytest.approx(math.log(8) - math.log(2) / 2)
    assert by_rows(found, rows).ravel().tolist() == pytest.approx([1 / 8 - 1 / 2, 2 / 8 - 1 / 2, 5 / 8])


def test_binary_by_hand() -> None:
    """Chances 1/2, 2/3 and 5/6; the last row stands for four."""
    queries, rows = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    weight = torch.tensor([0.0, 0.0, math.log(4)])
    found = BINARY(queries, rows, weight, make_targets([[0, 1]]), WorkSpace())
    assert float(found.loss) == pytest.approx(-math.log(1 / 2) - math.log(2 / 3) - 4 * math.log(1 / 6))
    assert by_rows(found, rows).ravel().tolist() == pytest.approx([1 / 2 - 1, 2 / 3 - 1, 5 / 6])
    pulled = (2 / 3 - 1) * math.log(2) + 4 * 5 / 6 * math.log(5)
    assert found.queries.item() == pytest.approx(pulled)


def test_drawn_negatives_of_the_binary_loss_are_unbiased() -> None:
    """In the mean over all draws of two of six, loss and gradients are those of all rows."""
    draw = torch.Generator().manual_seed(2)
    queries, rows = torch.randn(4, 3, generator=draw), torch.randn(8, 3, generator=draw)
    own, others = [2, 5], [0, 1, 3, 4, 6, 7]
    full = BINARY(queries, rows, None, make_targets([[2], [5], [2, 5], [5]]), WorkSpace())
    draws = list(itertools.combinations(others, 2))
    loss, by_queries, moves = torch.zeros(()), torch.zeros_like(queries), torch.zeros_like(rows)
    for drawn in draws:
        ids = sorted([*own, *drawn])
        stands_for = torch.tensor([1.0 if id in own else len(others) / 2 for id in ids])
        here = [[ids.index(id) for id in some] for some in ([2], [5], [2, 5], [5])]
        found = BINARY(queries, rows[ids], stands_for.log(), make_targets(here), WorkSpace())
        loss += found.loss / len(draws)
        by_queries += found.queries / len(draws)
        # Its change is multiplied after training, as ``client.train`` returns it.
        moves[ids] += by_rows(found, rows[ids]) * stands_for[:, None] / len(draws)
    torch.testing.assert_close(loss, full.loss)
    torch.testing.assert_close(by_queries, full.queries)
    torch.testing.assert_close(moves, by_rows(full, rows))


def test_planes_are_of_a_softmax() -> None:
    zero = torch.zeros(1, 2)
    planes = Planes(torch.zeros(1), zero, torch.zeros(1), zero)
    with pytest.raises(ValueError, match="planes are of a softmax"):
        BINARY(zero, torch.ones(3, 2), None, make_targets([[0]]), WorkSpace(), planes)


@pytest.mark.parametrize("loss", [SOFTMAX, BINARY])
def test_the_rows_may_be_moved_in_place(loss: Loss) -> None:
    """What was found of the rows before does not change while they move."""
    draw = torch.Generator().manual_seed(4)
    queries, rows = torch.randn(3, 4, generator=draw), torch.randn(9, 4, generator=draw)
    found = loss(queries, rows, None, make_targets([[0, 3], [3], [8, 1, 2]]), WorkSpace())
    again = loss(queries, rows, None, make_targets([[0, 3], [3], [8, 1, 2]]), WorkSpace())
    expected = rows - 0.5 * by_rows(again, rows)
    found.add_to(rows, -0.5)
    torch.testing.assert_close(rows, expected)
