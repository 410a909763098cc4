"""The losses of many clients at once are those of each by itself."""

import numpy as np
import pytest
import torch

from hashfed.models.batch import Targets
from hashfed.models.losses import LOSSES
from hashfed.models.output_layer import WorkSpace
from hashfed.models.stacked_batch import StackedTargets
from hashfed.models.stacked_losses import StackedGradients, StackedRows
from hashfed.retrieval.planes import Planes

D, RATE = 4, -0.1
PREDICTIONS, ROWS = (5, 2, 1), (6, 9, 3)
EVERYTHING = 10**6


def stacked_targets(every: list[Targets]) -> StackedTargets:
    """One client's after the other's."""
    counts = [one.counts for one in every if one.counts is not None]
    joined = Targets(torch.cat([one.rows for one in every]), torch.cat(counts) if counts else None)
    return StackedTargets.split(joined, torch.tensor([len(one) for one in every]))


def random_planes(count: int) -> Planes:
    errors, slopes = torch.randn(count) * 0.3, torch.randn(count, D) * 0.1
    return Planes(torch.randn(count), torch.randn(count, D), errors, slopes)


def stacked(
    loss: str, case: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, Targets, Planes | None]], most: int
) -> tuple[StackedGradients, torch.Tensor]:
    """Gradients, and the rows as they are moved."""
    queries, rows, weights = (torch.zeros(3, max(sizes), *more) for sizes, more in SHAPES)
    offsets = torch.full((3, 2), -torch.inf)
    planes = Planes(offsets, *(torch.zeros(3, 2, *more) for more in ((D,), (), (D,))))
    for place, (asked, held, weight, _, of) in enumerate(case):
        queries[place, : len(asked)], rows[place, : len(held)] = asked, held
        weights[place, : len(held)] = weight.exp()
        if of is not None:
            for to, value in zip(planes.tensors(), of.tensors(), strict=True):
                to[place, : len(value)] = value
    found = stacked_targets([targets for *_, targets, _ in case])
    moved = rows.clone()
    known = planes if any(of is not None for *_, of in case) else None
    function = LOSSES[loss].stacked
    assert function is not None
    return function(
        queries, StackedRows(rows, weights, known, moved, RATE, most, shifted=False), found
    ), moved


SHAPES = ((PREDICTIONS, (D,)), (ROWS, (D,)), (ROWS, ()))


@pytest.mark.parametrize("most", [EVERYTHING, 60, 20, 9])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("loss", "planes"), [("softmax", False), ("softmax", True), ("binary", False)])
def test_each_client_s_are_its_own(loss: str, planes: bool, several: bool, most: int) -> None:
    """Whatever fits in memory; one client has no planes, and those of another are fewer."""
    torch.manual_seed(0)
    case = []
    for client, (predictions, size) in enumerate(zip(PREDICTIONS, ROWS, strict=True)):
        counts = torch.tensor([1 + place % 2 for place in range(predictions)]) if several else None
        total = predictions if counts is None else int(counts.sum())
        targets = Targets(torch.arange(total) % min(3, size), counts)
        weight = torch.where(torch.arange(size) < 3, 0.0, torch.rand(size))
        of = random_planes(client) if planes and client > 0 else None
        case.append((torch.randn(predictions, D), torch.randn(size, D), weight, targets, of))
    found, moved = stacked(loss, case, most)
    assert not bool(found.unsafe)
    for client, (queries, rows, weight, targets, of) in enumerate(case):
        expected = LOSSES[loss].gradients(queries, rows, weight, targets, WorkSpace(), of)
        torch.testing.assert_close(found.loss[client], expected.loss)
        torch.testing.assert_close(found.queries[client, : len(queries)], expected.queries)
        assert not found.queries[client, len(queries) :].any()
        assert found.bounded[client] == expected.bounded
        after = rows.clone()
        expected.add_to(after, RATE)
        torch.testing.assert_close(moved[client, : len(rows)], after)
        if found.tail is not None and expected.tail is not None:
            torch.testing.assert_close(found.tail[client, : len(expected.tail)], expected.tail)
        if found.tail is not None and expected.tail is None:
            assert not found.tail[client].any()


def test_what_overflows_is_told_and_shifted() -> None:
    queries, rows = torch.full((1, 1, 1), 30.0), torch.tensor([[[4.0], [3.0]]])
    targets = stacked_targets([Targets(torch.tensor([1]))])
    function = LOSSES["softmax"].stacked
    assert function is not None
    plain, shifted = (
        function(queries, StackedRows(rows, None, None, rows.clone(), RATE, EVERYTHING, shift), targets)
        for shift in (False, True)
    )
    assert bool(plain.unsafe)
    assert not bool(shifted.unsafe)
    assert shifted.loss.tolist() == [30.0]
    assert shifted.queries.flatten().tolist() == [1.0]


def targets_of(*predictions: int) -> StackedTargets:
    """Of so many predictions of each client, each of which is to find its first row."""
    zeros = (torch.zeros(count, dtype=torch.int64) for count in predictions)
    return stacked_targets([Targets(rows) for rows in zeros])


@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("most", [EVERYTHING, 2])
def test_padding_is_any_number(loss: str, most: int) -> None:
    """Of the second client there is one prediction; where there is none the model may give what overflows."""
    function = LOSSES[loss].stacked
    assert function is not None
    rows = torch.ones(2, 2, 1)
    for padding in (0.0, 500.0, torch.inf):
        queries, moved = torch.tensor([[1.0, 2.0], [3.0, padding]])[:, :, None], rows.clone()
        held = StackedRows(rows, None, None, moved, RATE, most, shifted=False)
        found = function(queries, held, targets_of(2, 1))
        assert not bool(found.unsafe)
        assert found.queries[1, 1].item() == 0
        if padding == 0:
            expected, moved_to = found, moved
        assert torch.equal(moved, moved_to)
        assert torch.equal(found.loss, expected.loss)


def test_rows_that_are_none_may_be_far_above_all_others() -> None:
    """Logits of -200 are shifted by 200; those of rows of zeros then are 200, and overflow."""
    queries, rows = torch.full((1, 1, 1), 20.0), torch.tensor([[[-10.0], [-10.0], [0.0]]])
    weights, function = torch.tensor([[1.0, 1.0, 0.0]]), LOSSES["softmax"].stacked
    assert function is not None
    held = StackedRows(rows, weights, None, rows.clone(), RATE, EVERYTHING, shifted=True)
    found = function(queries, held, targets_of(1))
    assert found.loss.item() == pytest.approx(np.log(2), abs=1e-4)
    assert found.queries.isfinite().all()
    assert held.moved.isfinite().all()
