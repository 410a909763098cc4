"""What is reproduced, and how: the scale with the user's changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hashfed.config import Config, make_config
from hashfed.cost.budgets import Budget, OwnAnd, budget_settings
from hashfed.errors import HashfedError
from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.results import FULL
from hashfed.reproduction.scales import SCALES, Scale

EXPERIMENTS = ("table1", "figure1", "table2", "buckets")
DECAY_START = 0.6
"""Share of the rounds after which the server's rate begins to fall to zero."""
TABLE2_BUDGETS: dict[str, Budget] = {FULL: 1.0, "simhash": 0.3, "planes": OwnAnd(0.01)}
"""The methods of table 2 and what part of the rows they hold: the paper's two, and ours."""
OURS_FURTHER = (OwnAnd(0.01),)
"""Budgets of figure 1 that our methods have besides those of all."""


@dataclass(frozen=True)
class Options:
    """Of a reproduction.

    Attributes:
        experiments: of ``EXPERIMENTS``.
        scale_name: of ``scale`` in ``SCALES``.
        scale: with the user's changes.
        vocabularies: V of the panels, smallest first.
        methods: of ``METHODS``, ``full`` among them.
        data: settings of the group ``data`` and others of the user, by dotted name.
        device: where clients train.

    """

    experiments: tuple[str, ...]
    scale_name: str
    scale: Scale
    vocabularies: tuple[int, ...]
    methods: tuple[str, ...]
    data: Mapping[str, Any]
    device: str

    def needs_runs(self) -> bool:
        """Whether anything is trained."""
        return any(name != "table1" for name in self.experiments)

    def budgets(self, method: str) -> tuple[Budget, ...]:
        """Of a method in figure 1."""
        if method == FULL:
            return (1.0,)
        further = () if METHODS[method].paper else OURS_FURTHER
        return tuple(dict.fromkeys((*self.scale.budgets, *further)))

    def common(self, vocabulary: int) -> dict[str, Any]:
        """Settings of all runs with so many words, by dotted name."""
        return {
            **self.scale.model,
            "client.examples": self.scale.sentences,
            "cohort": self.scale.cohort,
            "evaluation.examples": self.scale.sample,
            **self.scale.further,
            **self.data,
            "data.vocabulary": vocabulary,
            "device": self.device,
            "workers": 1,
        }

    def config(self, vocabulary: int, method: str, budget: Budget, rounds: int, **further: Any) -> Config:
        """A run's configuration; ``further`` settings by dotted name."""
        settings = {
            **self.common(vocabulary),
            **METHODS[method].settings,
            "rounds": rounds,
            "server.decay_rounds": rounds,
            "server.decay_start": int(DECAY_START * rounds),
            "evaluation.every": max(1, rounds // 4),
            **further,
        }
        if method != FULL:
            settings |= {f"selection.{name}": value for name, value in budget_settings(budget).items()}
        return make_config(nested(settings))


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as a tree."""
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *groups, last = name.split(".")
        at = tree
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = value
    return tree


def check_names(option: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Refuse unknown and repeated names.

    Raises:
        HashfedError: naming the option, the name and those known.

    """
    for position, name in enumerate(names):
        if name not in known:
            raise HashfedError(f"--{option} = {name}: must be of {', '.join(known)}")
        if name in names[:position]:
            raise HashfedError(f"--{option}: {name} stands twice")


def scale_named(name: str) -> Scale:
    """The scale of a name.

    Raises:
        HashfedError: where there is none.

    """
    if name not in SCALES:
        raise HashfedError(f"--scale = {name}: must be one of {', '.join(SCALES)}")
    return SCALES[name]
