"""The largest models that a device affords with some of the rows (paper, section 3.3 and table 2)."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hashfed.config import Config, identity
from hashfed.cost.search import Limits, Search
from hashfed.cost.variants import at_budget, with_model
from hashfed.cost.workload import busiest_and_median
from hashfed.display import brief
from hashfed.engines.budget import build_model
from hashfed.engines.device_memory import measure_device_memory
from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.models import ModelSettings, TransformerSettings
from hashfed.randomness import stream
from hashfed.tasks.federated_data import FederatedData

FFN_STEPS = 48
"""Steps of the model's own width, by which it grows: 32 of the paper's 1,536."""
LIMITS = ("parameters", "memory")
CAPACITIES = ("ffn", "embedding", "blocks")
ATTEMPTS = 5
"""Sizes whose memory is measured, each smaller than the last, until one fits."""
CAUTION = 0.99
"""Of the full model's memory that a larger one may take: measured again, either may be a little off."""

Measure = Callable[[Config], int]
"""Peak bytes of a client's process under a configuration, above its libraries."""


@dataclass(frozen=True)
class Larger:
    """A model that is as large as fits.

    Attributes:
        capacity: the size that was raised, of ``CAPACITIES``.
        limit: of ``LIMITS``: within what of the full model it fits.
        model: with that size.
        parameters: on the device of the client with most data.

    """

    capacity: str
    limit: str
    model: ModelSettings
    parameters: int


def full_parameters(full: Config, data: FederatedData[Any]) -> int:
    """Numbers on a device that holds the whole model."""
    search = _search(full, data)
    return search.cost(at_budget(full, 1)).parameters


def largest_sizes(
    config: Config, data: FederatedData[Any], capacities: tuple[str, ...], measure: Measure | None
) -> Iterator[Larger]:
    """Of each capacity, within the parameters and within the memory of the same model with all rows.

    The device is that of the training client with most to predict in a round. Sizes that do not exceed
    ``config``'s own are left out: nothing larger fits.

    Args:
        config: of the run at the paper's sizes, with some of the rows.
        data: its clients.
        capacities: of ``CAPACITIES``.
        measure: the memory; none: predictions are taken for it.

    """
    search = _search(config, data)
    all_rows = at_budget(config, 1)
    full = search.cost(all_rows)
    measured = None if measure is None else measure(all_rows)
    for capacity in capacities:
        for limit in LIMITS:
            if limit == "parameters":
                grown = _grown(search, capacity, Limits(parameters=full.parameters))
            else:
                grown = _within_memory(search, capacity, full.memory, measured, measure)
            if grown is not None:
                parameters = search.cost(grown).parameters
                yield Larger(capacity, limit, grown.model, parameters)


def _within_memory(
    search: Search, capacity: str, predicted: int, full: int | None, measure: Measure | None
) -> Config | None:
    """The largest with at most the ``predicted`` memory, or the ``full`` model's measured one."""
    for _ in range(ATTEMPTS):
        grown = _grown(search, capacity, Limits(memory=predicted))
        if grown is None or measure is None or full is None:
            return grown
        found = measure(grown)
        if found <= CAUTION * full:
            return grown
        predicted = int(CAUTION * predicted * full / found)
    return None


def _grown(search: Search, capacity: str, limits: Limits) -> Config | None:
    config = search.config
    found, now = search.model(capacity, limits), int(getattr(config.model, capacity))
    step = max(1, now // FFN_STEPS) if capacity == "ffn" else 1
    value = 0 if found is None else int(found.value) // step * step
    return with_model(config, capacity, value) if value > now else None


def _search(config: Config, data: FederatedData[Any]) -> Search:
    return Search(config, busiest_and_median(config, data)["busiest"], data.sizes)


class SizeBook:
    """Sizes that were found, kept in a file: measured memory differs by a percent from time to time.

    A reproduction that goes on has the sizes with which it began.
    """

    def __init__(self, path: Path, measured: bool, keeps: bool = True) -> None:
        """Of a file.

        Args:
            path: of it.
            measured: whether memory is measured; predictions are taken for it else.
            keeps: whether what is found is written down.

        """
        self._path, self._measured, self._keeps = path, measured, keeps

    def largest(self, config: Config, data: FederatedData[Any], capacities: tuple[str, ...]) -> list[Larger]:
        """As ``largest_sizes``."""
        key = f"{identity(config)} {' '.join(capacities)}"
        book = self._read(self._path)
        if key not in book:
            measure = (lambda one: _measured(one, data)) if self._measured else None
            with single_thread():
                found = list(largest_sizes(config, data, capacities, measure))
            book[key] = [asdict(one) | {"model": one.model.model_dump()} for one in found]
            if self._keeps:
                text = json.dumps(book, indent=1) + "\n"
                write_atomically(self._path, text.encode())
        try:
            return [Larger(**one | {"model": TransformerSettings(**one["model"])}) for one in book[key]]
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(self._path, error) from None

    @staticmethod
    def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from None
        if not isinstance(found, dict):
            raise _damaged(path, "no object")
        return found


def _damaged(path: Path, problem: object) -> HashfedError:
    said = brief(" ".join(str(problem).split()))
    return HashfedError(f"{path}: damaged ({said}); delete it: sizes are measured anew")


def _measured(config: Config, data: FederatedData[Any]) -> int:
    model = build_model(config)
    parameters = model.init(data.sizes, stream(config.seed, "init"))
    found = measure_device_memory(config, model, data, parameters)
    return found["memory_peak"] - found["memory_baseline"]
