import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hashfed.models import Targets, WorkSpace, output_gradients, output_layer
from hashfed.models.output_layer import HIGHEST_PLANE, LEAST_SHARE
from hashfed.retrieval.planes import Planes


def loss_of(
    queries: torch.Tensor, rows: torch.Tensor, log_weight: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    return functional.cross_entropy(functional.linear(queries, rows, log_weight), targets)


def test_loss_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    rows = torch.tensor([[math.log(2.0), 0.0], [0.0, math.log(3.0)]])
    # Softmax (2, 1)/3 for the first query, (1, 3)/4 for the second.
    found = output_gradients(queries, rows, None, Targets(torch.tensor([0, 0])), WorkSpace())
    assert math.isclose(float(found.loss), (-math.log(2 / 3) - math.log(1 / 4)) / 2, rel_tol=1e-6)
    # ∂/∂logits = (softmax − one-hot)/2 = (−1, 1)/6 and (−3, 3)/8; rows = (log 2 · e₁, log 3 · e₂).
    log2, log3 = math.log(2), math.log(3)
    assert torch.allclose(
        found.queries, torch.tensor([[-log2 / 6, log3 / 6], [-3 * log2 / 8, 3 * log3 / 8]]), atol=1e-7
    )
    gradient = torch.zeros(2, 2)
    found.add_to(gradient, 1.0)
    assert torch.allclose(gradient, torch.tensor([[-1 / 6, -3 / 8], [1 / 6, 3 / 8]]), atol=1e-7)


def test_log_weight_is_added_to_the_logits() -> None:
    queries, rows = torch.tensor([[0.0]]), torch.tensor([[1.0], [1.0]])
    weight = torch.tensor([0.0, math.log(9.0)])
    found = output_gradients(queries, rows, weight, Targets(torch.tensor([0])), WorkSpace())
    assert math.isclose(float(found.loss), math.log(10.0), rel_tol=1e-6)


@given(
    count=st.integers(1, 40),
    size=st.integers(1, 90),
    weighted=st.booleans(),
    scale=st.sampled_from([0.0, 0.1, 1.0, 30.0, 1000.0]),
    block=st.sampled_from([1, 64, 1 << 17]),
    most=st.sampled_from([1, 300, 1 << 25]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_equals_autograd(
    count: int, size: int, weighted: bool, scale: float, block: int, most: int, seed: int
) -> None:
    """Whatever the blocks, the chunks, and the size of the logits (1000: no exponential fits float32)."""
    draw = torch.Generator().manual_seed(seed)
    queries = (scale * torch.randn(count, 5, generator=draw)).requires_grad_()
    rows = torch.randn(size, 5, generator=draw).requires_grad_()
    log_weight = torch.rand(size, generator=draw) * 3 if weighted else None
    targets = torch.randint(size, (count,), generator=draw)
    expected = loss_of(queries, rows, log_weight, targets)
    expected.backward()
    assert queries.grad is not None
    assert rows.grad is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_layer, "BLOCK_LOGITS", block)
        patch.setattr(output_layer, "MAX_LOGITS", most)
        with torch.no_grad():
            found = output_gradients(
                queries.detach(), rows.detach(), log_weight, Targets(targets), WorkSpace()
            )
        moved = rows.detach().clone()
        found.add_to(moved, -0.5)
    tolerance = 2e-5 * max(1.0, scale)
    assert torch.allclose(found.loss, expected.detach(), rtol=1e-5, atol=tolerance)
    assert torch.allclose(found.queries, queries.grad, rtol=1e-4, atol=1e-5)
    # A row that stands for several moves as one.
    by_rows = rows.grad if log_weight is None else rows.grad * torch.exp(-log_weight)[:, None]
    assert torch.allclose(moved, rows.detach() - 0.5 * by_rows, rtol=1e-4, atol=tolerance)


def test_an_infinite_query_gives_no_finite_loss() -> None:
    queries, rows = torch.tensor([[math.inf, 0.0]]), torch.ones(3, 2)
    found = output_gradients(queries, rows, None, Targets(torch.tensor([0])), WorkSpace())
    assert not math.isfinite(float(found.loss))


def test_the_work_space_is_reused_and_grows() -> None:
    space, like = WorkSpace(), torch.empty(0)
    first = space.take(4, 10, like)
    again = space.take(2, 10, like)
    assert first[0].data_ptr() == again[0].data_ptr()
    assert sum(block.shape[1] for block in space.take(8, 10, like)) == 10


def some_planes(count: int, draw: torch.Generator, offset: float, steep: float, error: float) -> Planes:
    """Planes and errors of draws of about these sizes."""
    return Planes(
        offset + torch.randn(count, generator=draw),
        steep * torch.randn(count, 5, generator=draw),
        error * torch.randn(count, generator=draw),
        0.3 * error * torch.randn(count, 5, generator=draw),
    )


def with_planes(
    queries: torch.Tensor,
    rows: torch.Tensor,
    log_weight: torch.Tensor | None,
    targets: torch.Tensor,
    planes: Planes,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean loss, G and which queries are bounded, in float64 and as the formulas are written."""
    logits = functional.linear(queries, rows, log_weight)
    at_hand = torch.logsumexp(logits, 1)
    value, index = (queries @ planes.slopes.double().T + planes.offsets.double()).max(1)
    factor = planes.errors.double()[index] - (queries * planes.error_slopes.double()[index]).sum(1)
    # Relative to the rows at hand; no plane is taken for more than e^60 of the largest of their logits.
    above = torch.minimum(value, logits.detach().amax(1) + HIGHEST_PLANE)
    power = torch.exp(above - at_hand)
    bounded = 1 + power * factor <= LEAST_SHARE
    z = at_hand + torch.where(bounded, math.log(LEAST_SHARE), torch.log1p((power * factor).clamp(min=-0.99)))
    loss = (z - logits[torch.arange(len(queries)), targets]).mean()
    share = torch.where(bounded, 0, torch.exp(above - z)) / len(queries)
    tail = torch.zeros_like(planes.slopes, dtype=torch.float64).index_add_(
        0, index, queries.detach() * share.detach()[:, None]
    )
    return loss, tail, bounded


@given(
    count=st.integers(1, 40),
    size=st.integers(1, 60),
    planes=st.integers(1, 6),
    weighted=st.booleans(),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
    offset=st.sampled_from([-300.0, -2.0, 0.0, 3.0]),
    error=st.sampled_from([0.0, 0.3, 3.0]),
    most=st.sampled_from([1, 300, 1 << 25]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100)
def test_planes_equal_autograd_of_the_formula(
    count: int,
    size: int,
    planes: int,
    weighted: bool,
    scale: float,
    offset: float,
    error: float,
    most: int,
    seed: int,
) -> None:
    """Loss, gradients of queries and rows, G and the bound; whatever the chunks and the logits' size."""
    draw = torch.Generator().manual_seed(seed)
    queries = scale * torch.randn(count, 5, generator=draw)
    rows = torch.randn(size, 5, generator=draw)
    log_weight = torch.rand(size, generator=draw) * 3 if weighted else None
    targets = torch.randint(size, (count,), generator=draw)
    made = some_planes(planes, draw, offset, 1.0, error)
    wide_queries, wide_rows = queries.double().requires_grad_(), rows.double().requires_grad_()
    wide_weight = None if log_weight is None else log_weight.double()
    loss, tail, bounded = with_planes(wide_queries, wide_rows, wide_weight, targets, made)
    loss.backward()
    assert wide_queries.grad is not None
    assert wide_rows.grad is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_layer, "MAX_LOGITS", most)
        found = output_gradients(queries, rows, log_weight, Targets(targets), WorkSpace(), made)
    by_rows = torch.zeros_like(rows)
    found.add_to(by_rows, 1.0)
    assert found.tail is not None
    assert found.bounded == int(bounded.sum())
    # Z may be as small as a twentieth of what it is a difference of.
    size_of = max(1.0, scale) / LEAST_SHARE
    assert torch.allclose(found.loss.double(), loss, rtol=1e-4, atol=1e-5 * size_of)
    assert torch.allclose(found.queries.double(), wide_queries.grad, rtol=1e-3, atol=1e-5 * size_of)
    expected = wide_rows.grad if wide_weight is None else wide_rows.grad * torch.exp(-wide_weight)[:, None]
    assert torch.allclose(by_rows.double(), expected, rtol=1e-3, atol=1e-5 * size_of)
    assert torch.allclose(found.tail.double(), tail, rtol=1e-3, atol=1e-5 * size_of)


def test_a_signed_logit_by_hand() -> None:
    """Rows weigh 2 + 4; a plane of log 3 counts half, then three times less than nothing."""
    queries = torch.tensor([[1.0]])
    rows = torch.tensor([[math.log(2)], [math.log(4)]])
    for factor, z, bounded in ((0.5, 7.5, 0), (-1.0, 3.0, 0), (-3.0, 0.05 * 6, 1)):
        planes = Planes(
            torch.tensor([0.0]),
            torch.tensor([[math.log(3)]]),
            torch.tensor([factor + 0.25]),
            torch.tensor([[0.25]]),
        )
        found = output_gradients(queries, rows, None, Targets(torch.tensor([0])), WorkSpace(), planes)
        assert found.bounded == bounded
        assert float(found.loss) == pytest.approx(math.log(z / 2), rel=1e-5)
        assert found.tail is not None
        # Where the bound acts, the rows at hand are all that is trained on.
        assert found.tail.item() == pytest.approx(0 if bounded else 3 / z)
        at_hand = 2 * math.log(2) + 4 * math.log(4)
        slope = 3 * (math.log(3) * factor - 0.25)
        mean = at_hand / 6 if bounded else (at_hand + slope) / z
        assert found.queries.item() == pytest.approx(mean - math.log(2), rel=1e-5)
        by_rows = torch.zeros(2, 1)
        found.add_to(by_rows, 1.0)
        total = 6 if bounded else z
        assert by_rows.ravel().tolist() == pytest.approx([2 / total - 1, 4 / total], rel=1e-5)


@pytest.mark.parametrize("offset", [-1e30, -1e4, -90.0, 55.0, 59.0, 61.0, 65.0, 68.0, 80.0, 1e4, 1e30])
def test_extreme_planes_and_logits_stay_finite(offset: float) -> None:
    """And equal what float64 gives, where no plane is taken for more than e^60 of the rows at hand."""
    queries = torch.tensor([[1.0, 0, 0, 0, 0], [1.0, 0.5, 0, 0, 0]])
    zero, targets = torch.zeros(1, 5), torch.tensor([0, 1])
    for logit, factor in itertools.product(
        (-1e4, -80.0, 0.0, 62.0, 80.0, 1e4), (-2.0, -1e-3, 0.0, 1e-3, 1.0, 3.0)
    ):
        rows = torch.zeros(3, 5)
        rows[:, 0] = torch.tensor([logit, logit - 1, logit - 3])
        planes = Planes(torch.tensor([offset]), zero, torch.tensor([factor]), zero)
        loss, tail, bounded = with_planes(queries.double(), rows.double(), None, targets, planes)
        found = output_gradients(queries, rows, None, Targets(targets), WorkSpace(), planes)
        by_rows = torch.zeros_like(rows)
        found.add_to(by_rows, 1.0)
        assert found.tail is not None
        for value in (found.loss, found.queries, found.tail, by_rows):
            assert bool(torch.isfinite(value).all())
        assert found.bounded == int(bounded.sum())
        assert float(found.loss) == pytest.approx(float(loss), rel=1e-4, abs=1e-3)
        assert torch.allclose(found.tail.double(), tail, rtol=2e-3, atol=1e-6)


def test_planes_that_count_nothing_change_nothing() -> None:
    """Far below everything, and with no error: bit for bit the layer without planes."""
    draw = torch.Generator().manual_seed(3)
    queries, rows = torch.randn(7, 5, generator=draw), torch.randn(9, 5, generator=draw)
    targets = torch.randint(9, (7,), generator=draw)
    plain = output_gradients(queries, rows, None, Targets(targets), WorkSpace())
    for planes in (some_planes(3, draw, -500.0, 1.0, 1.0), some_planes(3, draw, 0.0, 1.0, 0.0)):
        found = output_gradients(queries, rows, None, Targets(targets), WorkSpace(), planes)
        assert torch.equal(found.loss, plain.loss)
        assert torch.equal(found.queries, plain.queries)
        tables = torch.zeros(2, 9, 5)
        plain.add_to(tables[0], 1.0)
        found.add_to(tables[1], 1.0)
        assert torch.equal(tables[0], tables[1])
