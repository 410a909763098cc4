"""What a finished round tells, and which clients a round has: the same in every engine."""

from dataclasses import dataclass, field

import torch

from hashfed.config import Config
from hashfed.engines.client_round import ClientReport
from hashfed.errors import HashfedError
from hashfed.randomness import stream


@dataclass(frozen=True)
class RoundRecord:
    """A finished round.

    Attributes:
        round: its number, from 1.
        loss: mean training loss of the cohort (over the rows each client held), nats.
        reports: what each client's round cost, in order of names.
        failed: clients of the cohort whose update is missing, with the reason (over a network).
        wire_bytes: what really travelled ``down`` and ``up`` (over a network).
        seconds: where the time went, beyond what the reports say (over a network).
        padding: share of the predictions computed in training that are none, where clients with fewer are
            padded to those with more (engine cohort); None elsewhere.
        clipped: how many updates were longer than ``server.clip``; None without it.
        saturated: share of the numbers that clients added and that were beyond their range; None where nobody
            adds.
        diverged: clients whose training diverged, and who added nothing; likewise.

    """

    round: int
    loss: float
    reports: list[ClientReport]
    padding: float | None = None
    clipped: int | None = None
    saturated: float | None = None
    diverged: int | None = None
    failed: dict[str, str] = field(default_factory=dict)
    wire_bytes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def check_cohort(config: Config, clients: int) -> None:
    """Refuse what nobody can simulate here, with so many training clients.

    Raises:
        HashfedError: where the cohort exceeds them, or there is no such device.

    """
    if config.cohort > clients:
        raise HashfedError(
            f"cohort = {config.cohort}: must be at most the number of training clients, {clients}"
        )
    if config.device == "cuda" and not torch.cuda.is_available():
        raise HashfedError("device = cuda: torch finds no CUDA device here (allowed: cpu)")


def draw_cohort(config: Config, round: int, clients: int) -> list[int]:
    """Positions, ascending, of a round's cohort among ``clients`` clients in order of their names."""
    rng = stream(config.seed, "cohort", round)
    return sorted(rng.choice(clients, min(config.cohort, clients), replace=False).tolist())
