"""The configuration at other budgets and sizes."""

import math
from collections.abc import Mapping

from hashfed.config import Config
from hashfed.cost.budgets import Budget, budget_settings
from hashfed.engines.budget import device_budget, sends_everything, sends_planes
from hashfed.retrieval import METHODS
from hashfed.retrieval.method import RetrievalSettings
from hashfed.retrieval.registry import retrieval_settings
from hashfed.tasks.registry import make_task

UNCAPPED = {"max_rows": None, "max_bytes": None}
"""Selection settings that limit the budget further."""


def at_budget(config: Config, budget: Budget, capped: bool = True) -> Config:
    """The configuration at another budget; 1 means all rows.

    A fraction of the rows stands instead of ``selection.extra``, if that is set. A method that sends all
    rows whatever the budget gives way to the default one, or where that has no such delivery to one that has.
    ``capped``: ``max_rows`` and ``max_bytes`` go on to hold.
    """
    caps = {} if capped and budget != 1 else UNCAPPED
    changes: dict[str, object] = {
        "selection": config.selection.model_copy(update=budget_settings(budget) | caps),
    }
    if config.retrieval.sends_all and budget != 1:
        changes["retrieval"] = _of_some_rows(config)
    return config.model_copy(update=changes)


def _of_some_rows(config: Config) -> RetrievalSettings:
    """The default method; where its rows cannot reach clients so, one whose rows can."""
    usual: RetrievalSettings = Config.model_fields["retrieval"].default
    delivery = config.selection.delivery
    if delivery in usual.deliveries:
        return usual
    able = [name for name, one in METHODS.items() if delivery in one.deliveries and not one.sends_all]
    return retrieval_settings(max(able, key=lambda name: METHODS[name].uses_counts))


def with_rows(config: Config, rows: int, size: int) -> Config:
    """The configuration with a budget of exactly ``rows`` of ``size`` rows."""
    return at_budget(config, rows / size, capped=False)


def with_size(config: Config, value: int) -> tuple[Config, Mapping[str, int]]:
    """The configuration with another value of the setting that decides the rows, and how many by table."""
    data = config.data.resized(value)
    return config.model_copy(update={"data": data}), make_task(data).sizes


def with_model(config: Config, size: str, value: int) -> Config:
    """The configuration with another value of a size of the model."""
    return config.model_copy(update={"model": config.model.grown(size, value)})


def size_step(config: Config, size: str) -> int:
    """What a size must be a multiple of: for the model, and as the length of a row for the retrieval."""
    retrieval = config.retrieval.width_step if size == config.model.width else 1
    return math.lcm(config.model.step(size), retrieval)


def held_rows(config: Config, size: int, own: int) -> tuple[int, int]:
    """Rows that a client with ``own`` rows of its own receives, and those that it trains on.

    Both are at most these: an index that finds too few candidates sends fewer of those to be dropped, and of
    the rows that all clients hold some may be its own.
    """
    if sends_everything(config):
        return size, size
    if config.selection.delivery == "secure":
        most = min(size, device_budget(config, size, 0) + own)
        return most, most
    budget = device_budget(config, size, own)
    trained = max(budget, own)
    selection = config.selection
    candidates = budget - round(selection.tail * budget) - own
    dropped = round((selection.oversample - 1) * budget) if candidates > 0 else 0
    return min(size, trained + dropped), trained


def held_planes(config: Config, size: int, own: int, points: int) -> int:
    """Planes of the tail that a client with ``own`` rows of its own is sent, whose keys make ``points``.

    At most so many: none where it happens to be sent all rows, most of them to be dropped.
    """
    _, trained = held_rows(config, size, own)
    return points if sends_planes(config) and trained < size else 0
