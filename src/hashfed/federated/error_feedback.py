"""Error feedback: what compression loses of one update is added to the client's next one.

Seide et al. 2014, "1-Bit Stochastic Gradient Descent and its Application to Data-Parallel Distributed
Training of Speech DNNs"; Karimireddy et al. 2019, "Error Feedback Fixes SignSGD and other Gradient
Compression Schemes".

There every worker keeps the error of all parameters. A client of hashfed never holds anything of size n: it
keeps the error of the body and of the rows of its *last* update alone. Of these, rows that it trains on again
get theirs back; the error of the others is dropped, as it is of rows of earlier updates. Where a client holds
the same rows each time, no error is ever dropped: what was sent and the residual add up to the updates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hashfed.federated import codec
from hashfed.federated.compression import compress_update, expand
from hashfed.federated.messages import Update
from hashfed.federated.settings import UpdatePrecision


@dataclass(frozen=True)
class Residual:
    """What compression lost of a client's update.

    Attributes:
        round: of that update.
        body: float32, by name.
        ids: (m,) int32 ascending: the rows of that update; None for all n.
        rows: (m, d) float32.
        inputs: ids (t,) int32 ascending by input table.
        input_rows: (t, w) float32 by input table.

    """

    round: int
    body: dict[str, torch.Tensor]
    ids: np.ndarray | None
    rows: torch.Tensor
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    input_rows: dict[str, torch.Tensor] = field(default_factory=dict)

    def cpu(self) -> "Residual":
        """The same with all arrays in the memory of the CPU."""
        return Residual.read({name: value.cpu() for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it, to be kept: in a checkpoint, or in a client's state."""
        return {"round": torch.tensor(self.round)} | codec.tensors_of(self)

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor]) -> "Residual":
        """What ``tensors`` gave.

        Raises:
            KeyError: where one is missing.

        """
        return codec.read(cls, tensors, {"round": str(int(tensors["round"]))})

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process as plain arrays: as a tensor each would cost a file descriptor for good."""
        return _from_arrays, ({name: value.numpy() for name, value in self.tensors().items()},)


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> Residual:
    return Residual.read({name: torch.from_numpy(value) for name, value in arrays.items()})


@dataclass(frozen=True)
class ClientMemory:
    """What a client keeps where the server may never use its last update.

    It came too late, or the server died and went back to its checkpoint: what that update lost was not lost,
    and what the one before lost is still owed. So the client keeps both, and the server, which alone knows,
    says which of its updates was the last that it used.

    Attributes:
        before: the residual that the last update used.
        after: the residual that the last update left.

    """

    before: Residual | None = None
    after: Residual | None = None

    def of(self, used: int) -> Residual | None:
        """The residual that the client's update of round ``used`` left; None where it is not kept (or 0).

        A server that goes back by more than the client's last update finds none.
        """
        for residual in (self.after, self.before):
            if residual is not None and residual.round == used:
                return residual
        return None

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it, to be kept."""
        kept = {"before": self.before, "after": self.after}
        return {
            f"{which}.{name}": value
            for which, residual in kept.items()
            if residual is not None
            for name, value in residual.tensors().items()
        }

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor]) -> "ClientMemory":
        """What ``tensors`` gave.

        Raises:
            KeyError: where one is missing.

        """
        found: dict[str, dict[str, torch.Tensor]] = {}
        for full, value in tensors.items():
            which, _, name = full.partition(".")
            found.setdefault(which, {})[name] = value
        return cls(**{which: Residual.read(parts) for which, parts in found.items()})


def compress_with_feedback(
    update: Update, precision: UpdatePrecision, residual: Residual | None
) -> tuple[Update, Residual]:
    """The compressed sum of ``update`` and ``residual``, and what it lost.

    Args:
        update: not compressed. Its arrays are used up: they become those of the new residual.
        precision: of what is sent.
        residual: of the client's last update, if any; it is left as it was.

    """
    if residual is not None:
        _add(update, residual)
    sent = compress_update(update, precision)
    received = expand(sent)
    for name, value in update.body.items():
        value.sub_(received.body[name])
    update.rows.sub_(received.rows)
    for name, value in update.input_rows.items():
        value.sub_(received.input_rows[name])
    return sent, Residual(
        update.round, update.body, update.ids, update.rows, update.inputs, update.input_rows
    )


def _add(update: Update, residual: Residual) -> None:
    """In place, to the body and to the rows that both hold."""
    for name, value in update.body.items():
        value.add_(residual.body[name].to(value.device))
    if update.ids is None and residual.ids is None:
        update.rows.add_(residual.rows.to(update.rows.device))
    else:
        here, there = (
            np.arange(len(held.rows)) if held.ids is None else held.ids for held in (update, residual)
        )
        _add_rows(update.rows, here, residual.rows, there)
    for name, rows in update.input_rows.items():
        _add_rows(rows, update.inputs[name], residual.input_rows[name], residual.inputs[name])


def _add_rows(rows: torch.Tensor, here: np.ndarray, lost: torch.Tensor, there: np.ndarray) -> None:
    """Those of ``lost``, with ids ``there``, to those of ``rows`` with the same ids ``here``, in place."""
    _, to, of = np.intersect1d(here, there, assume_unique=True, return_indices=True)
    found = lost[torch.from_numpy(of)].to(rows.device)
    rows.index_add_(0, torch.from_numpy(to).to(rows.device), found)
