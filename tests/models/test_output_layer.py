import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hashfed.models import WorkSpace, output_gradients, output_layer


def loss_of(
    queries: torch.Tensor, rows: torch.Tensor, log_weight: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    return functional.cross_entropy(functional.linear(queries, rows, log_weight), targets)


def test_loss_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    rows = torch.tensor([[math.log(2.0), 0.0], [0.0, math.log(3.0)]])
    # Softmax (2, 1)/3 for the first query, (1, 3)/4 for the second.
    found = output_gradients(queries, rows, None, torch.tensor([0, 0]), WorkSpace())
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
    found = output_gradients(queries, rows, weight, torch.tensor([0]), WorkSpace())
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
            found = output_gradients(queries.detach(), rows.detach(), log_weight, targets, WorkSpace())
        moved = rows.detach().clone()
        found.add_to(moved, -0.5)
    tolerance = 2e-5 * max(1.0, scale)
    assert torch.allclose(found.loss, expected.detach(), rtol=1e-5, atol=tolerance)
    assert torch.allclose(found.queries, queries.grad, rtol=1e-4, atol=1e-5)
    assert torch.allclose(moved, rows.detach() - 0.5 * rows.grad, rtol=1e-4, atol=tolerance)


def test_an_infinite_query_gives_no_finite_loss() -> None:
    queries, rows = torch.tensor([[math.inf, 0.0]]), torch.ones(3, 2)
    found = output_gradients(queries, rows, None, torch.tensor([0]), WorkSpace())
    assert not math.isfinite(float(found.loss))


def test_the_work_space_is_reused_and_grows() -> None:
    space, like = WorkSpace(), torch.empty(0)
    first = space.take(4, 10, like)
    again = space.take(2, 10, like)
    assert first[0].data_ptr() == again[0].data_ptr()
    assert sum(block.shape[1] for block in space.take(8, 10, like)) == 10
