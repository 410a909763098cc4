"""Server optimizers of Reddi et al. 2021 (FedOpt), with dense or lazy moments for the rows.

A pseudo-gradient Δ is the mean change that clients made, so the step is *added*:

    m ← β₁ m + (1 − β₁) Δ
    v ← β₂ v + (1 − β₂) Δ²                  fedadam
    v ← v − (1 − β₂) Δ² sign(v − Δ²)        fedyogi
    v ← v + Δ²                              fedadagrad
    x ← x + η m / (√v + ε)

``fedavg`` is x ← x + η Δ; ``fedavgm`` is m ← β₁ m + Δ, x ← x + η m.
"""

from dataclasses import dataclass

import numpy as np
import torch

from hashfed.federated.settings import ServerSettings
from hashfed.federated.sums import PseudoGradient, RowChanges
from hashfed.models import OUTPUT, Parameters

CHUNK = 1024
"""Rows moved at a time: rows, change and moments of a chunk stay in the cache (1.5 MiB at d = 96)."""


@dataclass
class OptimizerState:
    """Moments by parameter name (``tables.…``, ``body.…``), and how many steps were made.

    Attributes:
        steps: rounds so far.
        first: m, where the optimizer has one.
        second: v, where the optimizer has one.
        touched: (n,) int64 by table, the last step that moved each row (lazy rows).

    """

    steps: int
    first: dict[str, torch.Tensor]
    second: dict[str, torch.Tensor]
    touched: dict[str, np.ndarray]


def init_optimizer(parameters: Parameters, settings: ServerSettings) -> OptimizerState:
    """Moments before the first round: m = 0; v = 0 with bias correction, else ε² (Reddi et al.)."""
    named = parameters.named()
    first, second = has_moments(settings)
    start = 0.0 if _corrects(settings) else settings.epsilon**2
    return OptimizerState(
        steps=0,
        first={name: torch.zeros_like(value) for name, value in named.items() if first},
        second={name: torch.full_like(value, start) for name, value in named.items() if second},
        touched={name: np.zeros(size, np.int64) for name, size in parameters.sizes.items()},
    )


def has_moments(settings: ServerSettings) -> tuple[bool, bool]:
    """Whether there is a first moment, and a second one."""
    return settings.optimizer != "fedavg", settings.optimizer not in ("fedavg", "fedavgm")


def step(
    parameters: Parameters,
    gradient: PseudoGradient,
    state: OptimizerState,
    settings: ServerSettings,
) -> None:
    """One server step; parameters and state are changed in place."""
    state.steps += 1
    settings = settings.model_copy(update={"learning_rate": learning_rate(settings, state.steps)})
    keys = [f"body.{name}" for name in parameters.body]
    _move(
        list(parameters.body.values()),
        [gradient.body[name] for name in parameters.body],
        [state.first[key] for key in keys] if state.first else None,
        [state.second[key] for key in keys] if state.second else None,
        state.steps,
        settings,
    )
    for name, changes in gradient.tables.items():
        move = _move_all_rows if moves_all_rows(settings, name) else _move_held_rows
        move(name, parameters.tables[name], changes, state, settings)
        state.touched[name][changes.ids] = state.steps


def moves_all_rows(settings: ServerSettings, table: str = OUTPUT) -> bool:
    """Whether a step also moves rows of a table that no client held: by their moments, if there are any."""
    moments = settings.row_moments if table == OUTPUT else settings.input_moments
    return moments == "dense" and settings.optimizer != "fedavg"


def _move_all_rows(
    table: str, rows: torch.Tensor, held: RowChanges, state: OptimizerState, settings: ServerSettings
) -> None:
    """Every row (n, d) moves by its moments, in place, a chunk at a time; those without change see zero."""
    first, second = state.first[f"tables.{table}"], state.second.get(f"tables.{table}")
    step = _chunk(rows)
    ends = np.searchsorted(held.ids, np.arange(0, len(rows) + step, step))
    for chunk, start in enumerate(range(0, len(rows), step)):
        part = slice(start, start + step)
        changes = held.rows[ends[chunk] : ends[chunk + 1]]
        if len(changes) < len(rows[part]):
            places = torch.from_numpy(held.ids[ends[chunk] : ends[chunk + 1]] - start).to(rows.device)
            changes = torch.zeros_like(rows[part]).index_copy_(0, places, changes)
        _move(
            [rows[part]],
            [changes],
            [first[part]],
            None if second is None else [second[part]],
            state.steps,
            settings,
        )


def _move_held_rows(
    table: str, rows: torch.Tensor, held: RowChanges, state: OptimizerState, settings: ServerSettings
) -> None:
    """Only rows that a client held move, in place, a chunk at a time; their moments make up for the wait."""
    first, second = state.first.get(f"tables.{table}"), state.second.get(f"tables.{table}")
    for start in range(0, len(held.ids), _chunk(rows)):
        ids = held.ids[start : start + _chunk(rows)]
        index = torch.from_numpy(ids).to(rows.device)
        part = rows[index]
        part_first = None if first is None else first[index]
        part_second = None if second is None else second[index]
        _decay(part_first, part_second, state.steps - state.touched[table][ids], settings)
        _move(
            [part],
            [held.rows[start : start + len(ids)]],
            None if part_first is None else [part_first],
            None if part_second is None else [part_second],
            state.steps,
            settings,
        )
        rows[index] = part
        if first is not None and part_first is not None:
            first[index] = part_first
        if second is not None and part_second is not None:
            second[index] = part_second


def _chunk(rows: torch.Tensor) -> int:
    """Rows moved at a time; all on a GPU, which has no such cache."""
    return max(1, len(rows)) if rows.is_cuda else CHUNK


def learning_rate(settings: ServerSettings, steps: int) -> float:
    """Of step number ``steps``, from 1: constant, or falling linearly to zero at ``decay_rounds``."""
    if settings.decay_rounds is None:
        return settings.learning_rate
    left = (settings.decay_rounds - steps + 1) / (settings.decay_rounds - settings.decay_start)
    return settings.learning_rate * min(1.0, max(0.0, left))


def _corrects(settings: ServerSettings) -> bool:
    return settings.optimizer == "fedadam" and settings.bias_correction


def _decay(
    first: torch.Tensor | None,
    second: torch.Tensor | None,
    gap: np.ndarray,
    settings: ServerSettings,
) -> None:
    """Make up for the ``gap`` − 1 steps in which these rows (k, d) saw a zero pseudo-gradient."""
    missed = torch.from_numpy(gap.astype(np.float64) - 1)[:, None]
    if first is not None:
        first.mul_((settings.beta1**missed).float().to(first.device))
    if second is not None and settings.optimizer == "fedadam":
        second.mul_((settings.beta2**missed).float().to(second.device))


def _move(
    values: list[torch.Tensor],
    changes: list[torch.Tensor],
    first: list[torch.Tensor] | None,
    second: list[torch.Tensor] | None,
    steps: int,
    settings: ServerSettings,
) -> None:
    """The update of the module's docstring on some tensors, in place: of many small ones a launch for all."""
    if not values:
        return
    if first is None:
        torch._foreach_add_(values, changes, alpha=settings.learning_rate)
        return
    if second is None:
        torch._foreach_mul_(first, settings.beta1)
        torch._foreach_add_(first, changes)
        torch._foreach_add_(values, first, alpha=settings.learning_rate)
        return
    torch._foreach_mul_(first, settings.beta1)
    torch._foreach_add_(first, changes, alpha=1 - settings.beta1)
    if settings.optimizer == "fedadam":
        torch._foreach_mul_(second, settings.beta2)
        torch._foreach_addcmul_(second, changes, changes, value=1 - settings.beta2)
    elif settings.optimizer == "fedyogi":
        square = torch._foreach_mul(changes, changes)
        sign = torch._foreach_sub(second, square)
        torch._foreach_sign_(sign)
        torch._foreach_mul_(square, sign)
        torch._foreach_sub_(second, square, alpha=1 - settings.beta2)
    else:
        torch._foreach_addcmul_(second, changes, changes)
    rate, scale = settings.learning_rate, 1.0
    if _corrects(settings):
        rate /= 1 - settings.beta1**steps
        scale = (1 - settings.beta2**steps) ** 0.5
    root = torch._foreach_sqrt(second)
    torch._foreach_div_(root, scale)
    torch._foreach_add_(root, settings.epsilon)
    torch._foreach_addcdiv_(values, first, root, value=rate)
