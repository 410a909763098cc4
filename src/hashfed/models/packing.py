"""Padded sequences without their padding: (s, T) grids as p positions that are read, and back for attention.

Which positions these are depends on the data, so it is found once for a batch, where the data are. What is
left has fixed shapes: a model that works with it can be applied to many clients' batches at once, each padded
with zeros to the largest.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch.nn import functional

from hashfed.models.batch import Batch, Layout

Columns = Mapping[str, torch.Tensor]


def pack_sequences(batch: Batch, stacked: bool, trim: bool = False) -> Batch:
    """The batch with columns of p positions instead of (s, T).

    Args:
        batch: of sequences (``tasks.sequences``): ``inputs``, ``predicted`` and perhaps ``read``, (s, T).
        stacked: see ``Model.pack``.
        trim: leave out positions at the end of all sequences.

    Returns:
        With columns ``inputs`` (p,) int64; ``sequences`` and ``positions`` (p,) int64, where each is;
        ``slots`` (s, T) int64, 1 + which of them is there, 0 where none is; and ``kept`` (q,), those with a
        prediction, where there are others. Where all positions are read and nothing will be stacked,
        ``inputs`` (s, T) alone.

    """
    inputs, predicted = batch.columns["inputs"], batch.columns["predicted"]
    read = batch.columns.get("read", predicted)
    length = inputs.shape[1]
    packed = read.flatten().nonzero().squeeze(1)
    columns: dict[str, torch.Tensor] = {}
    if len(packed) == read.numel() and not stacked:
        columns["inputs"] = inputs
    else:
        slots = torch.zeros(read.numel(), dtype=torch.int64, device=packed.device)
        slots[packed] = torch.arange(1, len(packed) + 1, device=packed.device)
        positions = packed % length
        slots = slots.view(read.shape)
        if trim:
            slots = slots[:, : int(positions.max()) + 1]
        columns |= {
            "inputs": inputs.flatten()[packed],
            "sequences": packed // length,
            "positions": positions,
            "slots": slots,
        }
        items = frozenset({"inputs", "sequences", "positions"})
        slots_alone = frozenset({"slots"})
        batch = replace(batch, layout=Layout("sequences", items, slots_alone, slots_alone))
    if read is not predicted:
        columns["kept"] = predicted.flatten()[packed].nonzero().squeeze(1)
    return replace(batch, columns=columns)


def grid_shape(columns: Columns) -> torch.Size:
    """(s, T) of a packed batch."""
    return columns.get("slots", columns["inputs"]).shape


def positions(columns: Columns) -> torch.Tensor:
    """Position of each that is read in its sequence, (p,) int64."""
    if "slots" in columns:
        return columns["positions"]
    count, length = columns["inputs"].shape
    return torch.arange(length, device=columns["inputs"].device).repeat(count)


def to_grid(packed: torch.Tensor, columns: Columns) -> torch.Tensor:
    """Vectors (p, k) of the positions that are read, (s, T, k); zero elsewhere."""
    if "slots" not in columns:
        return packed.view(*columns["inputs"].shape, -1)
    return functional.embedding(columns["slots"], torch.cat([packed.new_zeros(1, packed.shape[1]), packed]))


def from_grid(grid: torch.Tensor, columns: Columns) -> torch.Tensor:
    """Of vectors (s, T, k) those of the positions that are read, (p, k)."""
    flat = grid.reshape(-1, grid.shape[-1])
    if "slots" not in columns:
        return flat
    return functional.embedding(columns["sequences"] * grid.shape[1] + columns["positions"], flat)


def with_prediction(packed: torch.Tensor, columns: Columns) -> torch.Tensor:
    """Of (p, k) those that a prediction is made from."""
    return packed[columns["kept"]] if "kept" in columns else packed
