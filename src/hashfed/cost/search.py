"""The largest model that a device can afford (paper, section 3.3)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hashfed.config import Config
from hashfed.cost.case import Case
from hashfed.cost.estimate import ClientCost, estimate
from hashfed.cost.keys import Hashing, typical_hashing
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.variants import at_budget, size_step, with_model, with_rows, with_size
from hashfed.cost.workload import draw_workload
from hashfed.engines.budget import build_model, sends_everything, sends_planes
from hashfed.models.protocol import OUTPUT, input_tables
from hashfed.tasks.federated_data import Client
from hashfed.tasks.registry import make_task

MOST = 2**31 - 1
"""Largest number tried: row ids are int32."""


@dataclass(frozen=True)
class Limits:
    """What a device can afford in a round.

    Attributes:
        memory: predicted peak bytes above the libraries, None for no limit.
        traffic: bytes of all messages, down and up, None for no limit.
        parameters: numbers on the device, the body and the rows it trains on; None for no limit.

    """

    memory: int | None = None
    traffic: int | None = None
    parameters: int | None = None

    def hold(self, cost: ClientCost) -> bool:
        """Whether ``cost`` is affordable."""
        return (
            (self.memory is None or cost.memory <= self.memory)
            and (self.traffic is None or cost.traffic <= self.traffic)
            and (self.parameters is None or cost.parameters <= self.parameters)
        )


@dataclass(frozen=True)
class Found:
    """A largest affordable model.

    Attributes:
        value: of the setting that was made as large as possible; for the budget the fraction of the rows.
        cost: of a round.
        unlimited: whether larger values would cost no more, so that the search ended by itself.

    """

    value: float
    cost: ClientCost
    unlimited: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"value": self.value, "unlimited": self.unlimited} | self.cost.as_dict()


class Search:
    """Looks for the largest values of settings with which one client's round is affordable.

    Costs grow with every value (the search is a bisection), but for one step: a client that gets all rows
    declares and sorts none, and needs no planes.

    Attributes:
        config: of the run.
        client: who must afford it.
        sizes: numbers of rows by table.

    """

    def __init__(self, config: Config, client: Client, sizes: Mapping[str, int]) -> None:
        self.config, self.client, self.sizes = config, client, dict(sizes)
        self._sizes: dict[tuple[object, ...], ModelSizes] = {}
        self._hashings: dict[tuple[object, ...], Hashing] = {}

    def cost(self, config: Config, sizes: Mapping[str, int] | None = None) -> ClientCost:
        """A round's cost for the client under ``config``; with other sizes of tables where given."""
        sizes = self.sizes | dict(sizes or {})
        size, model = sizes[OUTPUT], build_model(config)
        made = config.model, *(sizes[name] for name in input_tables(model))
        if made not in self._sizes:
            self._sizes[made] = ModelSizes.of(model, make_task(config.data), sizes)
        workload = draw_workload(config, self.client, size)
        rows = min(size, config.retrieval.typical_rows)
        points = (config.selection.points, config.selection.planes) if sends_planes(config) else ()
        asked = sends_everything(config), config.retrieval, points
        key = *asked, config.model.dimension, workload.predictions, rows
        if key not in self._hashings:
            self._hashings[key] = typical_hashing(config, workload.predictions, rows)
        return estimate(Case(config, self._sizes[made], size, workload, self._hashings[key]))

    def budget(self, limits: Limits) -> Found | None:
        """The largest budget of this model; ``max_rows`` and ``max_bytes`` of the selection are set aside."""
        everything = self.cost(at_budget(self.config, 1))
        if limits.hold(everything):
            return Found(1, everything)
        size = self.sizes[OUTPUT]
        found = self._number(limits, lambda rows: self.cost(with_rows(self.config, rows, size)), size - 1)
        return None if found is None else Found(found.value / size, found.cost)

    def rows(self, limits: Limits) -> Found | None:
        """The most rows at this budget, as the value of the setting that decides them."""
        return self._number(limits, lambda value: self.cost(*with_size(self.config, value)))

    def model(self, size: str, limits: Limits) -> Found | None:
        """The largest value of a size of the model, in steps of ``size_step``."""
        return self._number(
            limits,
            lambda value: self.cost(with_model(self.config, size, value)),
            step=size_step(self.config, size),
        )

    def _number(
        self, limits: Limits, at: Callable[[int], ClientCost], most: int = MOST, step: int = 1
    ) -> Found | None:
        steps = largest(lambda steps: limits.hold(at(step * steps)), most // step)
        return Found(step * steps, at(step * steps), step * steps > most - step) if steps else None


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to ``most`` that fits, 0 where 1 does not; what is larger fits no more."""
    good, bad = 0, 1
    while fits(bad):
        good = bad
        if good == most:
            return good
        bad = min(2 * bad, most)
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good
