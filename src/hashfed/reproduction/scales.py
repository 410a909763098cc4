"""How large a reproduction is: from a test of minutes to the paper's own size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hashfed.cost.budgets import Budget

MODEL = {
    "model.embedding": 96,
    "model.attention": 96,
    "model.heads": 8,
    "model.ffn": 1536,
    "model.blocks": 3,
}
"""The paper's (Table 1); it does not say how many heads or blocks there are."""


@dataclass(frozen=True)
class Scale:
    """Numbers of a reproduction.

    Attributes:
        vocabularies: V of the panels; the largest is cut to the words that the data have.
        budgets: of figure 1, besides all rows, which the full method has.
        rounds: of a run.
        cohort: clients per round.
        sentences: of a client and round, at most.
        seeds: runs of each point.
        trials: of settings, for each method.
        trial_rounds: of a trial.
        trial_budget: of rows in trials; methods with all rows have all.
        grid: rates that every method tries first, by name; all combinations.
        capacities: which sizes table 2 makes as large as possible.
        measured_sizes: whether table 2's sizes within the memory are found by measuring it; predictions are
            quicker, and up to a tenth off.
        sample: held-out sentences that are evaluated while training.
        further: settings of all runs, by dotted name.
        model: the same for the model; smaller ones are for tests only.

    """

    vocabularies: tuple[int, ...]
    budgets: tuple[Budget, ...]
    rounds: int
    cohort: int
    sentences: int
    seeds: int
    trials: int
    trial_rounds: int
    trial_budget: float
    grid: Mapping[str, tuple[float, ...]]
    capacities: tuple[str, ...]
    measured_sizes: bool
    sample: int
    further: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, int] = field(default_factory=lambda: MODEL)


PAPER_GRID = {
    "client.learning_rate": (0.1, 10**-1.5, 0.01),
    "server.learning_rate": (0.1, 10**-1.5, 0.01),
    "server.epsilon": (1e-3, 1e-4),
}
"""Section 4.1."""

SCALES: dict[str, Scale] = {
    "smoke": Scale(
        vocabularies=(200, 400),
        budgets=(0.2, 0.6),
        rounds=3,
        cohort=4,
        sentences=8,
        seeds=1,
        trials=2,
        trial_rounds=1,
        trial_budget=0.3,
        grid={"client.learning_rate": (0.1,), "server.learning_rate": (0.01,), "server.epsilon": (1e-4,)},
        capacities=("ffn",),
        measured_sizes=False,
        sample=50,
        further={"data.clients": 100, "data.tokens_per_client": 200},
        model={
            "model.embedding": 16,
            "model.attention": 16,
            "model.heads": 2,
            "model.ffn": 32,
            "model.blocks": 1,
        },
    ),
    "small": Scale(
        vocabularies=(10_000,),
        budgets=(0.05, 0.1, 0.3, 0.6),
        rounds=300,
        cohort=16,
        sentences=64,
        seeds=2,
        trials=8,
        trial_rounds=100,
        trial_budget=0.1,
        grid={
            "client.learning_rate": (0.1,),
            "server.learning_rate": (10**-1.5, 0.01),
            "server.epsilon": (1e-4,),
        },
        capacities=("ffn",),
        measured_sizes=True,
        sample=2000,
    ),
    "paper": Scale(
        vocabularies=(10_000, 80_000),
        budgets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9),
        rounds=1500,
        cohort=50,
        sentences=256,
        seeds=3,
        trials=36,
        trial_rounds=300,
        trial_budget=0.3,
        grid=PAPER_GRID,
        capacities=("ffn", "embedding", "blocks"),
        measured_sizes=True,
        sample=10_000,
        further={"data.sentences_per_client": 256, "data.tokens_per_client": 100_000},
    ),
}
"""``paper``: cohort and rounds are those of the Field Guide (Wang et al. 2021), which the paper follows."""
