"""The whole answer of ``hashfed cost``, ready for JSON."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from hashfed.config import Config, size_setting
from hashfed.cost.budgets import Budget, OwnAnd, budget_label
from hashfed.cost.case import Case
from hashfed.cost.deliveries import compare_deliveries
from hashfed.cost.estimate import ClientCost, estimate
from hashfed.cost.keys import first_hashing
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.search import Found, Limits, Search
from hashfed.cost.slices import known_buckets
from hashfed.cost.variants import at_budget
from hashfed.cost.workload import busiest_and_median, draw_workload
from hashfed.engines.budget import build_model, sends_everything, steps
from hashfed.engines.client_round import draw_examples
from hashfed.engines.common_plan import fresh_known
from hashfed.engines.device_memory import PROBED_ROUND, measure_device_memory
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.federated.model_shape import ModelShape
from hashfed.federated.protocols import in_lockstep
from hashfed.randomness import stream
from hashfed.retrieval import Selection, build_index
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.registry import make_task

BUDGETS = (1.0, 0.3, 0.1, 0.05, 0.01)
LEFT_OUT = {
    "energy": "not measured",
    "libraries": "memory is above that of Python, torch and hashfed once loaded",
    "own rows": "those of a model of more rows are taken to be those of the data's",
    "server": "building an index, which is done for all clients; looking up in one where it is not said",
    "index on the device": "memory and work of one that a client builds of a broadcast are not predicted",
    "slices": "of the largest models: typical ones, of rows spread evenly over the buckets",
    "common rows": "of the largest models: none of them are taken to be a client's own",
    "masks": "work of making and of taking away masks, which are integers",
}
"""What the result does not hold, and why."""


class Bill:
    """Costs of a configuration's clients in round 1.

    Attributes:
        config: of the run.
        data: its clients.
        measure: whether memory is also measured, in fresh processes.
        tell: told what is being worked on, before it is done.
        flower: whether the bytes over Flower are also counted.

    """

    def __init__(
        self,
        config: Config,
        data: FederatedData[Any],
        measure: bool,
        tell: Callable[[str], None] = lambda what: None,
        flower: bool = False,
    ) -> None:
        self.config, self.data, self.measure, self.tell = config, data, measure, tell
        self.flower = flower
        self.clients = busiest_and_median(config, data)
        self._entries: dict[tuple[Config, str], dict[str, Any]] = {}
        self._model = build_model(config)
        self._sizes = ModelSizes.of(self._model, make_task(config.data), data.sizes)
        self._parameters = self._model.init(data.sizes, stream(config.seed, "init"))
        retrieval = at_budget(config, 0.5).retrieval
        self._index = build_index(self._parameters.rows, retrieval, data.label_counts, config.seed)

    def cost(self, config: Config, client: Client) -> ClientCost:
        """Of a client's round under ``config``, this configuration at any budget."""
        return estimate(self._case(config, client))

    def over_flower(self, config: Config, client: Client) -> dict[str, dict[str, int]]:
        """Bytes that Flower serializes for that round, ``down`` and ``up`` by exchange.

        Raises:
            HashfedError: where Flower is not installed.

        """
        if importlib.util.find_spec("flwr") is None:
            raise HashfedError("--flower: needs Flower, which comes with pip install 'hashfed[flower]'")
        flower = importlib.import_module("hashfed.cost.flower")
        found: dict[str, dict[str, int]] = flower.exchange_bytes(self._case(config, client))
        return found

    def _case(self, config: Config, client: Client) -> Case:
        size = self.data.size
        examples = draw_examples(config, self._model, client, PROBED_ROUND, size)
        hashing = first_hashing(config, self._model, self._parameters, self._index, examples)
        sliced = config.selection.delivery == "pre-generated"
        fetched = known_buckets(self._index, hashing) if sliced else None
        common = self._common(config) if in_lockstep(steps(config)) else None
        workload = draw_workload(config, client, size)
        return Case(config, self._sizes, size, workload, hashing, fetched, common)

    def _common(self, config: Config) -> Selection:
        """The rows that all clients of round 1 hold, where the server learns sums alone."""
        there = ServerRound.of(
            config,
            self._parameters,
            self._index,
            PROBED_ROUND,
            known=fresh_known(config, ModelShape.of(self._model, self.data.sizes), self._parameters.rows),
        )
        return there.sums.selection

    def entry(self, config: Config, client: Client, what: str) -> dict[str, Any]:
        """The same for JSON, with the measured memory where it is asked for."""
        if (config, client.name) in self._entries:
            return self._entries[config, client.name]
        self.tell(what)
        found = self.cost(config, client).as_dict()
        if self.measure:
            memory = measure_device_memory(config, self._model, self.data, self._parameters, client)
            found |= memory
            found["memory_measured"] = memory["memory_peak"] - memory["memory_baseline"]
            found["predicted_to_measured"] = found["memory_predicted"] / found["memory_measured"]
        if self.flower:
            found["flower"] = self.over_flower(config, client)
        self._entries[config, client.name] = found
        return found

    def by_budget(self, budgets: Sequence[Budget]) -> list[dict[str, Any]]:
        """The busiest client's costs at each budget and their ratios to those with all rows.

        Among them own rows and as many others as the configuration says, if it does.
        """
        client = self.clients["busiest"]
        extra = self.config.selection.extra
        if extra is not None:
            budgets = [*budgets, OwnAnd(extra)]
        found: dict[Budget, dict[str, Any]] = {}
        for budget in [1.0, *budgets]:
            config = at_budget(self.config, budget)
            method = "full" if budget == 1 else config.retrieval.method
            entry = self.entry(config, client, f"budget {budget_label(budget)}")
            named = {"budget": budget_label(budget) if isinstance(budget, OwnAnd) else budget}
            found[budget] = entry | named | {"method": method}
        for entry in found.values():
            entry["ratio_to_full"] = ratios(entry, found[1.0])
        return [found[budget] for budget in dict.fromkeys(budgets)]


def ratios(entry: dict[str, Any], full: dict[str, Any]) -> dict[str, float]:
    """Each cost divided by that with all rows."""
    found = {
        "parameters": entry["parameters"]["all"] / full["parameters"]["all"],
        "flops": sum(entry["flops"].values()) / sum(full["flops"].values()),
    }
    for name in ("bytes_down", "bytes_up", "memory_predicted", "memory_measured"):
        if name in entry:
            found[name] = entry[name] / full[name]
    return found


def bill(
    config: Config,
    data: FederatedData[Any],
    budgets: Sequence[Budget],
    limits: Limits,
    measure: bool,
    tell: Callable[[str], None] = lambda what: None,
    flower: bool = False,
) -> dict[str, Any]:
    """Costs per client and round, by budget, and the largest models within the limits.

    Args:
        config: of the run.
        data: its clients.
        budgets: fractions of the rows, of which 1 means all, or own rows and others.
        limits: what a device can afford.
        measure: whether memory is also measured.
        tell: told what is being worked on.
        flower: whether the bytes over Flower are also counted.

    Raises:
        HashfedError: where no model at all is affordable, or memory cannot be measured.

    """
    with single_thread():  # small products, that threads would slow down
        return _bill(Bill(config, data, measure, tell, flower), budgets, limits)


def _bill(made: Bill, budgets: Sequence[Budget], limits: Limits) -> dict[str, Any]:
    config, data = made.config, made.data
    search = Search(config, made.clients["busiest"], data.sizes)
    result: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "train_clients": len(data.train),
        "rows": data.size,
        "left_out": LEFT_OUT,
    }
    if limits != Limits():
        made.tell("largest models")
        result["largest"] = largest_models(search, limits)
    made.tell("largest models in the memory of the full one")
    result["same_memory"] = same_memory(search)
    result["clients"] = {
        name: made.entry(config, client, f"{name} client") for name, client in made.clients.items()
    }
    result["budgets"] = made.by_budget(budgets)
    result["deliveries"] = compare_deliveries(
        config, lambda changed: made.cost(changed, made.clients["busiest"])
    )
    return result


def largest_models(search: Search, limits: Limits) -> dict[str, Any]:
    """What fits: by budget, rows and width.

    Raises:
        HashfedError: where nothing does.

    """
    width = search.config.model.width
    found = {
        "selection.budget": search.budget(limits),
        size_setting(search.config): search.rows(limits),
        f"model.{width}": search.model(width, limits),
    }
    if not any(found.values()):
        asked = search.cost(search.config)
        raise HashfedError(
            f"{_limits(limits)}: nothing fits, neither at a smaller budget nor with fewer rows nor with "
            f"narrower ones; as configured, a round takes {asked.memory:,} bytes of memory and moves "
            f"{asked.traffic:,}"
        )
    return {"limits": {"memory": limits.memory, "bytes": limits.traffic}, "found": _as_dicts(found)}


def same_memory(search: Search) -> dict[str, Any] | None:
    """How much larger a model fits, at the budget, in the memory that all rows take (paper, section 3.3).

    None where the client gets all rows anyway.
    """
    if sends_everything(search.config):
        return None
    full = search.cost(at_budget(search.config, 1))
    limits = Limits(memory=full.memory)
    sizes = search.config.model.width, *search.config.model.others
    found = {f"model.{size}": search.model(size, limits) for size in sizes}
    return {"full": full.as_dict(), "found": _as_dicts(found)}


def _as_dicts(found: dict[str, Found | None]) -> dict[str, Any]:
    return {name: None if item is None else item.as_dict() for name, item in found.items()}


def _limits(limits: Limits) -> str:
    """As the user gave them."""
    given = {"--max-memory": limits.memory, "--max-bytes": limits.traffic}
    return ", ".join(f"{name} = {value}" for name, value in given.items() if value is not None)
