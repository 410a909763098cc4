"""The physical limit: the matrix products of a step of many clients at once, and nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from hashfed.bench.timing import Clock, Spread, synchronized

BYTES = {"cpu": 1 << 28, "cuda": 1 << 32}
"""Of the operands of a product: of more clients some are multiplied, and their time counts for all."""
OPERATIONS = {"cpu": 4e9, "cuda": 1e13}
"""Of the three products of a layer, likewise: below a tenth of a second."""
REPETITIONS = 5


@dataclass
class Products:
    """Times the products of layers, of each kind once.

    Attributes:
        device: where.
        clock: tells the time.

    """

    device: str
    clock: Clock
    _known: dict[tuple[int, int, int, int], list[float]] = field(default_factory=dict)

    def steps_per_second(
        self, layers: Iterable[tuple[int, int]], rows: int, dimension: int, positions: int, clients: int
    ) -> Spread:
        """Client-steps per second of a step that were nothing but its products.

        Args:
            layers: (outputs, inputs) of the body's linear maps.
            rows: m, of each client's output layer.
            dimension: d, their length.
            positions: p, predicted in a client's batch.
            clients: C.

        """
        all_layers = [*layers, (rows, dimension)]
        times = [self._seconds(outputs, inputs, positions, clients) for outputs, inputs in all_layers]
        return Spread.of([clients / sum(turn) for turn in zip(*times, strict=True)])

    def _seconds(self, outputs: int, inputs: int, positions: int, clients: int) -> list[float]:
        """Of each repetition, for all clients."""
        key = outputs, inputs, positions, clients
        if key not in self._known:
            some = min(clients, _clients_at_once(outputs, inputs, positions, self.device))
            each = _Operands(some, outputs, inputs, positions, self.device)
            each.multiply()  # warms up
            self._known[key] = [self._timed(each) * clients / some for _ in range(REPETITIONS)]
        return self._known[key]

    def _timed(self, operands: "_Operands") -> float:
        start = synchronized(self.device, self.clock)
        operands.multiply()
        return synchronized(self.device, self.clock) - start


def _clients_at_once(outputs: int, inputs: int, positions: int, device: str) -> int:
    floats = 2 * (outputs * inputs + positions * (outputs + inputs))
    by_memory = BYTES[device] // (4 * floats)
    by_time = int(OPERATIONS[device] // (6 * outputs * inputs * positions))
    return max(1, min(by_memory, by_time))


class _Operands:
    """Of a linear map of so many clients: forward, by the input, by the weights."""

    def __init__(self, clients: int, outputs: int, inputs: int, positions: int, device: str) -> None:
        def some(*shape: int) -> torch.Tensor:
            return torch.full((clients, *shape), 0.5, device=device)

        self._weights, self._by_weights = some(outputs, inputs), some(outputs, inputs)
        self._input, self._by_input = some(positions, inputs), some(positions, inputs)
        self._by_output, self._output = some(positions, outputs), some(positions, outputs)

    def multiply(self) -> None:
        """Into memory at hand."""
        torch.bmm(self._input, self._weights.transpose(1, 2), out=self._output)
        torch.bmm(self._by_output, self._weights, out=self._by_input)
        torch.bmm(self._by_output.transpose(1, 2), self._input, out=self._by_weights)
