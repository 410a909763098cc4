from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.federated.messages import LARGEST_CHANGE, Update
from hashfed.federated.optimizers import OptimizerState, init_optimizer, learning_rate, step
from hashfed.federated.settings import ServerSettings
from hashfed.federated.sums import PseudoGradient, RowChanges, RowShares
from hashfed.models import Parameters
from summed import mean_of


def gradient(ids: list[int], rows: torch.Tensor, body: torch.Tensor) -> PseudoGradient:
    return PseudoGradient({"b": body}, {"output": RowChanges(np.array(ids), rows)}, 0.0)


def fresh(settings: ServerSettings, size: int = 4) -> tuple[Parameters, OptimizerState]:
    generator = torch.Generator().manual_seed(0)
    rows, body = torch.randn(size, 3, generator=generator), torch.randn(5, generator=generator)
    parameters = Parameters({"output": rows}, {"b": body})
    return parameters, init_optimizer(parameters, settings)


def test_one_step_of_each_optimizer_by_hand() -> None:
    # x = 1, Δ = 0.5, η = 0.1, β₁ = 0.9, β₂ = 0.99, ε = 0.01.
    first, square, start = 0.1 * 0.5, 0.25, 0.01**2
    expected: dict[Any, float] = {
        "fedavg": 1 + 0.1 * 0.5,
        "fedavgm": 1 + 0.1 * 0.5,
        "fedadam": 1 + 0.1 * first / (np.sqrt(0.99 * start + 0.01 * square) + 0.01),
        "fedyogi": 1 + 0.1 * first / (np.sqrt(start + 0.01 * square) + 0.01),
        "fedadagrad": 1 + 0.1 * first / (np.sqrt(start + square) + 0.01),
    }
    for name, value in expected.items():
        settings = ServerSettings(
            optimizer=name,
            learning_rate=0.1,
            epsilon=0.01,
            bias_correction=False,
        )
        parameters = Parameters({"output": torch.ones(1, 1)}, {"b": torch.ones(1)})
        change = torch.tensor([[0.5]])
        step(parameters, gradient([0], change, change[0]), init_optimizer(parameters, settings), settings)
        np.testing.assert_allclose(parameters.rows.item(), value, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(parameters.body["b"].item(), value, rtol=1e-6, err_msg=name)


def test_dense_fedadam_is_torchs_adam_on_the_negative_pseudo_gradient() -> None:
    settings = ServerSettings(learning_rate=0.05, beta1=0.8, beta2=0.95, epsilon=1e-3)
    parameters, state = fresh(settings)
    twin = [parameters.rows.clone().requires_grad_(), parameters.body["b"].clone().requires_grad_()]
    adam = torch.optim.Adam(twin, lr=0.05, betas=(0.8, 0.95), eps=1e-3)
    generator = torch.Generator().manual_seed(1)
    for ids in ([0, 1, 2, 3], [1, 3], [0], [0, 1, 2, 3]):
        rows = torch.randn(len(ids), 3, generator=generator)
        body = torch.randn(5, generator=generator)
        dense = torch.zeros(4, 3)
        dense[ids] = rows
        twin[0].grad, twin[1].grad = -dense, -body
        adam.step()
        step(parameters, gradient(ids, rows, body), state, settings)
        torch.testing.assert_close(parameters.rows, twin[0].detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(parameters.body["b"], twin[1].detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["fedadam", "fedyogi", "fedadagrad", "fedavg", "fedavgm"])
@given(seed=st.integers(0, 2**32 - 1), rounds=st.integers(1, 5))
def test_lazy_equals_dense_when_every_row_is_touched(optimizer: Any, seed: int, rounds: int) -> None:
    results = []
    for moments in ("dense", "lazy"):
        settings = ServerSettings(optimizer=optimizer, row_moments=moments)
        parameters, state = fresh(settings)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(rounds):
            rows = torch.randn(4, 3, generator=generator)
            step(parameters, gradient([0, 1, 2, 3], rows, torch.zeros(5)), state, settings)
        results.append(parameters.rows)
    assert torch.equal(*results)


def test_lazy_rows_wait_and_their_moments_decay_later() -> None:
    settings = ServerSettings(beta1=0.9, beta2=0.99, row_moments="lazy")
    parameters, state = fresh(settings)
    change = torch.ones(1, 3)
    step(parameters, gradient([2], change, torch.zeros(5)), state, settings)
    held = parameters.rows[2].clone()
    for _ in range(3):
        step(parameters, gradient([0], change, torch.zeros(5)), state, settings)
    assert torch.equal(parameters.rows[2], held)
    step(parameters, gradient([2], torch.zeros(1, 3), torch.zeros(5)), state, settings)
    np.testing.assert_allclose(state.first["tables.output"][2].numpy(), 0.1 * 0.9**4, rtol=1e-5)
    np.testing.assert_allclose(state.second["tables.output"][2].numpy(), 0.01 * 0.99**4, rtol=1e-5)


def test_dense_rows_move_by_momentum_when_no_client_held_them() -> None:
    settings = ServerSettings(row_moments="dense")
    parameters, state = fresh(settings)
    step(parameters, gradient([2], torch.ones(1, 3), torch.zeros(5)), state, settings)
    held = parameters.rows[2].clone()
    step(parameters, gradient([0], torch.ones(1, 3), torch.zeros(5)), state, settings)
    assert (parameters.rows[2] > held).all()


@pytest.mark.parametrize("optimizer", ["fedadam", "fedavg", "fedavgm"])
@pytest.mark.parametrize("moments", ["dense", "lazy"])
def test_rows_never_held_never_move(optimizer: Any, moments: Any) -> None:
    settings = ServerSettings(optimizer=optimizer, row_moments=moments)
    parameters, state = fresh(settings)
    before = parameters.rows[3].clone()
    for _ in range(3):
        step(parameters, gradient([0, 2], torch.ones(2, 3), torch.ones(5)), state, settings)
    assert torch.equal(parameters.rows[3], before)


@pytest.mark.parametrize("optimizer", ["fedadam", "fedyogi", "fedadagrad", "fedavg", "fedavgm"])
@pytest.mark.parametrize("average", ["cohort", "holders", "fedsubavg"])
@given(
    signs=st.lists(st.sampled_from([-1.0, 0.0, 1e-30, 1.0]), min_size=3, max_size=3),
    rounds=st.integers(1, 30),
)
def test_no_update_that_is_accepted_makes_anything_infinite(
    optimizer: Any, average: Any, signs: list[float], rounds: int
) -> None:
    """Whatever a client sends within the bound: model and moments stay finite."""
    settings = ServerSettings(optimizer=optimizer, row_average=average, bias_correction=False)
    parameters, state = fresh(settings)
    shares = RowShares.fresh({"output": 4})
    for round in range(rounds):
        ids = np.array([round % 4], np.int32)
        rows = LARGEST_CHANGE * torch.tensor([signs])
        update = Update(round, 10**6, 1.0, {"b": torch.full((5,), LARGEST_CHANGE)}, ids, rows)
        update.check_values()
        step(parameters, mean_of([(update, None)] * 3, parameters.rows, average, shares), state, settings)
    for value in (*parameters.named().values(), *state.first.values(), *state.second.values()):
        assert bool(torch.isfinite(value).all())


def test_the_learning_rate_falls_linearly_over_decay_rounds() -> None:
    settings = ServerSettings(optimizer="fedavg", learning_rate=0.4, decay_rounds=4)
    parameters = Parameters({"output": torch.zeros(1, 1)}, {"b": torch.zeros(1)})
    state = init_optimizer(parameters, settings)
    change = torch.ones(1, 1)
    values = []
    for _ in range(5):
        step(parameters, gradient([0], change, change[0]), state, settings)
        values.append(parameters.rows.item())
    # 0.4, 0.3, 0.2, 0.1, then nothing.
    late = ServerSettings(learning_rate=0.4, decay_rounds=4, decay_start=2)
    np.testing.assert_allclose([learning_rate(late, t) for t in range(1, 6)], [0.4, 0.4, 0.4, 0.2, 0])
    np.testing.assert_allclose(values, [0.4, 0.7, 0.9, 1.0, 1.0], rtol=1e-6)
