"""The largest models that a device affords with some of the rows (paper, section 3.3 and table 2)."""

from collections.abc import Iterator
from dataclasses import dataclass

from hashfed.config import Config
from hashfed.data import FederatedText
from hashfed.experiments.cost.search import Limits, Search
from hashfed.experiments.cost.variants import at_budget, with_model, with_width
from hashfed.experiments.cost.workload import busiest_and_median

MARGIN = 0.97
"""Of the full model's predicted memory: predictions are some percent off, and the measured peak must fit."""
FFN_STEPS = 48
"""Steps of the model's own width, by which it grows: 32 of the paper's 1,536."""
LIMITS = ("parameters", "memory")
CAPACITIES = ("ffn", "embedding", "blocks")


@dataclass(frozen=True)
class Larger:
    """A configuration whose model is as large as fits.

    Attributes:
        capacity: the size that was raised, of ``CAPACITIES``.
        limit: of ``LIMITS``: within what of the full model it fits.
        config: with that size.
        parameters: on the device of the client with most data.

    """

    capacity: str
    limit: str
    config: Config
    parameters: int


def full_parameters(full: Config, data: FederatedText) -> int:
    """Numbers on a device that holds the whole model."""
    search = _search(full, data)
    return search.cost(at_budget(full, 1), search.size).parameters


def largest_sizes(config: Config, data: FederatedText, capacities: tuple[str, ...]) -> Iterator[Larger]:
    """Of each capacity, within the parameters and within the memory of the same model with all rows.

    The device is that of the training client with most to predict in a round. Sizes that do not exceed
    ``config``'s own are left out: nothing larger fits.
    """
    search = _search(config, data)
    full = search.cost(at_budget(config, 1), search.size)
    limits = {
        "parameters": Limits(parameters=full.parameters),
        "memory": Limits(memory=int(MARGIN * full.memory)),
    }
    for capacity in capacities:
        for limit in LIMITS:
            grown = _grown(search, capacity, limits[limit])
            if grown is not None:
                parameters = search.cost(grown, search.size).parameters
                yield Larger(capacity, limit, grown, parameters)


def _grown(search: Search, capacity: str, limits: Limits) -> Config | None:
    config = search.config
    if capacity == "ffn":
        found, now, step = search.ffn(limits), config.model.ffn, max(1, config.model.ffn // FFN_STEPS)
    elif capacity == "embedding":
        found, now, step = search.width(limits), config.model.embedding, 1
    else:
        found, now, step = search.blocks(limits), config.model.blocks, 1
    value = 0 if found is None else int(found.value) // step * step
    if value <= now:
        return None
    return with_width(config, value) if capacity == "embedding" else with_model(config, **{capacity: value})


def _search(config: Config, data: FederatedText) -> Search:
    return Search(config, busiest_and_median(config, data)["busiest"], len(data.vocabulary))
