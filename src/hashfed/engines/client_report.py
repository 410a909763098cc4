"""What is told of a client's round, whoever played it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np


@dataclass
class ClientReport:
    """What one client's round cost.

    Attributes:
        client: its name.
        bytes: size of each message by kind, and of all ``slices`` fetched.
        own: (o,) int64 ids of the rows its data needs, as far as the server knows them.
        own_rows: how many its data needs.
        rows: rows it trained on.
        parameters: numbers held on the device, body and rows, before rows are dropped; all rows where they
            are broadcast.
        predictions: positions trained on per epoch.
        bounded: predictions, over all epochs, at which the partition function was bounded from below
            (``models.output_layer``); None without planes.
        flops: of hashing and training, analytic; a backward pass counts as two forward passes. The index and
            its lookup are not counted, wherever they are.
        seconds: for ``hash``, ``retrieve`` and ``train``.

    """

    client: str
    bytes: dict[str, int] = field(default_factory=dict)
    own: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    own_rows: int = 0
    rows: int = 0
    parameters: int = 0
    predictions: int = 0
    bounded: int | None = None
    flops: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the wall-clock seconds of a block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
