"""What is known of a client's messages before there are any: enough to make them without content."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.federated.common_plan import CommonPlan
from hashfed.federated.settings import CompressionSettings
from hashfed.retrieval import Encoder


@dataclass(frozen=True)
class Outline:
    """Sizes of what travels between the server and one client in a round.

    Attributes:
        round: its number.
        size: n.
        width: d.
        body: the parameters below the output layer, without memory.
        inputs: rows and their length by input table.
        everything: whether the client gets all rows.
        own: rows that its data needs.
        touched: rows that its data needs by input table.
        budget: rows that it may hold.
        received: rows on the device before any are dropped.
        trained: rows that it trains on.
        predictions: positions trained on per epoch.
        corrected: whether logits of rows that are sent are corrected.
        counts: whether clients that select by themselves need the public counts.
        planes: K, of the tail.
        encoder: what the client receives.
        keys: what it answers.
        sketch: what it sends besides for the planes alone.
        buckets: of the index that hold rows.
        norm_ranges: of the rows.
        compression: of rows and updates.
        common: of a run in which the server learns sums alone; else None.

    """

    round: int
    size: int
    width: int
    body: dict[str, torch.Tensor]
    inputs: Mapping[str, tuple[int, int]]
    everything: bool
    own: int
    touched: Mapping[str, int]
    budget: int
    received: int
    trained: int
    predictions: int
    corrected: bool
    counts: bool
    planes: int
    encoder: Encoder
    keys: Mapping[str, np.ndarray]
    sketch: Mapping[str, np.ndarray]
    buckets: int
    norm_ranges: int
    compression: CompressionSettings
    common: CommonPlan | None = None

    @property
    def plan(self) -> CommonPlan:
        """``common`` of such a run."""
        if self.common is None:
            raise ValueError("no run in which the server learns sums alone")
        return self.common

    @property
    def touched_ids(self) -> dict[str, np.ndarray]:
        """Ids of these rows."""
        return {name: ids(count) for name, count in self.touched.items()}

    @property
    def touched_rows(self) -> dict[str, torch.Tensor]:
        """The rows themselves, or their changes."""
        return {name: floats(count, self.inputs[name][1]) for name, count in self.touched.items()}


def floats(*shape: int) -> torch.Tensor:
    """A float32 array without memory."""
    return torch.empty(shape, device="meta")


def ids(count: int) -> np.ndarray:
    """Row numbers that nobody reads."""
    return np.empty(count, np.int32)
