"""The training of several clients at once (paper, section 3.2, step 5), with the sums of ``client.train``.

Bodies and rows of the clients are stacked; each step maps the model's function of one client over them
(``torch.func.vmap``). Clients with more steps come first, so that those which still train are always a prefix
of the stack and nothing is computed for the others.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.federated.settings import ClientSettings
from hashfed.hashing.parts import padded
from hashfed.models import Model, Parameters
from hashfed.models.protocol import OUTPUT
from hashfed.models.stacked_batch import StackedBatch
from hashfed.models.stacked_losses import StackedLoss, StackedRows
from hashfed.models.stacked_queries import NamedRows, stacked_queries
from hashfed.retrieval.planes import Planes


@dataclass(frozen=True)
class Held:
    """Which rows a client trains on: a ``LocalModel`` without the numbers.

    Attributes:
        ids: (m,) int64 ascending, or None where it holds all rows, in order.
        log_weight: (m,) float32, or None.
        inputs: ids (t,) int64 ascending by input table.
        planes: of the rows that it does not hold with certainty, how many.

    """

    ids: np.ndarray | None
    log_weight: np.ndarray | None
    inputs: dict[str, np.ndarray]
    planes: int = 0

    def of(self, table: str) -> np.ndarray | None:
        """Ids of rows of a table."""
        return self.ids if table == OUTPUT else self.inputs[table]


ALIGNED = 32
"""Numbers, of which as many or a multiple lie before each parameter: kernels read several at a time."""


@dataclass(frozen=True)
class Places:
    """Where parameters are in one vector of all of them, so that one operation is for all.

    Attributes:
        starts: by name.
        shapes: by name.
        size: of the vector.

    """

    starts: dict[str, int]
    shapes: dict[str, torch.Size]
    size: int

    @classmethod
    def of(cls, named: Mapping[str, torch.Tensor]) -> "Places":
        """Of parameters in this order."""
        starts, end = {}, 0
        for name, value in named.items():
            starts[name] = end
            end += -(-value.numel() // ALIGNED) * ALIGNED
        return cls(starts, {name: value.shape for name, value in named.items()}, end)

    def flat(self, named: Mapping[str, torch.Tensor], device: torch.device) -> torch.Tensor:
        """The parameters as a vector, with zeros between them."""
        parts = [torch.empty(0, device=device)]
        for name, value in named.items():
            parts += value.flatten(), value.new_zeros(-self.shapes[name].numel() % ALIGNED)
        return torch.cat(parts)

    def views(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """The parameters by name, of vectors (…, size), in their memory."""
        before = flat.shape[:-1]
        return {
            name: flat[..., start : start + shape.numel()].view((*before, *shape))
            for (name, start), shape in zip(self.starts.items(), self.shapes.values(), strict=True)
        }


@dataclass
class StackedModel:
    """What C clients hold, changed in place.

    Attributes:
        tables: (C, m, w) by name, zeros behind the rows of a client that has fewer.
        ids: (C · m,) int64 by table, of all these rows, 0 where there is none; None where all hold all.
        weights: (C, m) of the output table's rows, or None (``StackedRows``).
        planes: of the tails, or None (likewise).
        flat: (C, p), the bodies, each as one vector.
        places: where in that each of a body's parameters is.
        padding: (k,) int64, which of the C · m rows of the output table are none; None where all are there.

    """

    tables: dict[str, torch.Tensor]
    ids: dict[str, torch.Tensor | None]
    weights: torch.Tensor | None
    planes: Planes | None
    flat: torch.Tensor
    places: Places
    padding: torch.Tensor | None = None

    @classmethod
    def of(cls, sent: Parameters, held: Sequence[Held], planes: Planes | None) -> "StackedModel":
        """What each client holds of what all are sent; not to be changed: what all share is there once."""
        tables, ids, paddings = {}, dict[str, torch.Tensor | None](), dict[str, torch.Tensor | None]()
        for name in [OUTPUT, *sorted(held[0].inputs)]:
            tables[name], ids[name], paddings[name] = _gathered(
                sent.tables[name], [of.of(name) for of in held]
            )
        rows, weights = tables[OUTPUT], None
        if paddings[OUTPUT] is not None or any(of.log_weight is not None for of in held):
            logs = [
                np.zeros(rows.shape[1] if of.ids is None else len(of.ids))
                if of.log_weight is None
                else of.log_weight
                for of in held
            ]
            padded_logs = torch.from_numpy(padded(logs, -np.inf, np.float32))
            weights = padded_logs.to(rows.device, rows.dtype).exp_()
        places = Places.of(sent.body)
        flat = places.flat(sent.body, rows.device).expand(len(held), places.size)
        if planes is not None:
            planes = Planes(*(value.to(rows.dtype) for value in planes.tensors()))
        return cls(tables, ids, weights, planes, flat, places, paddings[OUTPUT])

    @property
    def body(self) -> dict[str, torch.Tensor]:
        """(C, …) by name, in the memory of ``flat``."""
        return self.places.views(self.flat)

    def clone(self) -> "StackedModel":
        """With tables and bodies of its own."""
        kept = torch.contiguous_format
        tables = {name: value.clone(memory_format=kept) for name, value in self.tables.items()}
        flat = self.flat.clone(memory_format=kept)
        return StackedModel(tables, self.ids, self.weights, self.planes, flat, self.places, self.padding)


def _gathered(
    table: torch.Tensor, ids: Sequence[np.ndarray | None]
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Rows (C, m, w) of each client, zeros behind those of fewer; their ids, and places that are none."""
    some = [of for of in ids if of is not None]
    if len(some) < len(ids):  # then all of them hold all
        return table.expand(len(ids), *table.shape), None, None
    every = padded(some, -1, np.int64)
    none = np.flatnonzero(every < 0)
    index = torch.from_numpy(np.maximum(every, 0)).to(table.device)
    rows, padding = table[index], None
    if len(none):
        padding = torch.from_numpy(none).to(table.device)
        rows.view(-1, table.shape[1]).index_fill_(0, padding, 0.0)
    return rows, index.flatten(), padding


@dataclass(frozen=True)
class Trained:
    """What the training of C clients gave.

    Attributes:
        losses: (C,) sums over all predictions and epochs, nats.
        tails: (C, K, d), G; None without planes.
        bounded: (C,) predictions at which the partition function was bounded.
        unsafe: () bool, whether it has to be done again with shifted logits.

    """

    losses: torch.Tensor
    tails: torch.Tensor | None
    bounded: torch.Tensor
    unsafe: torch.Tensor


def train_stacked(
    model: Model,
    held: StackedModel,
    steps: Sequence[StackedBatch],
    settings: ClientSettings,
    loss: StackedLoss,
    most_logits: int,
    precision: str = "float32",
    shifted: bool = False,
) -> Trained:
    """SGD on bodies and rows of all clients, in place.

    Args:
        model: its functions; ``stackable``.
        held: by the clients.
        steps: a batch of each client that still trains, which are the first of ``held``.
        settings: of the training.
        loss: of the output layer.
        most_logits: held at a time.
        precision: of the layers below the output, where it is bfloat16.
        shifted: whether logits are shifted by the largest of each query.

    """
    rows = held.tables[OUTPUT]
    count = len(rows)
    losses, bounded = (torch.zeros(count, device=rows.device) for _ in range(2))
    tails = None if held.planes is None else torch.zeros_like(held.planes.slopes)
    unsafe = torch.zeros((), dtype=torch.bool, device=rows.device)
    for step in steps:
        active = slice(len(step.targets.counts))
        tables = {name: table[active] for name, table in held.tables.items()}
        named = NamedRows.of(model, step, tables)
        body = {name: value[active].detach().requires_grad_() for name, value in held.body.items()}
        for leaf in named.rows.values():
            leaf.requires_grad_()
        with body_precision(precision, rows.device):
            queries = stacked_queries(model, body, named, step).to(rows.dtype)
        moved, scale = rows[active], -settings.learning_rate
        if settings.clip is not None:
            moved, scale = torch.zeros_like(moved), 1.0
        asked = StackedRows(
            tables[OUTPUT],
            None if held.weights is None else held.weights[active],
            None if held.planes is None else Planes(*(value[active] for value in held.planes.tensors())),
            moved,
            scale,
            most_logits,
            shifted,
        )
        output = loss(queries.detach(), asked, step.targets)
        queries.backward(output.queries)
        with torch.no_grad():
            if settings.clip is not None and held.padding is not None and asked.weights is not None:
                moved.mul_(asked.weights[:, :, None] > 0)  # what moves no row is no part of a norm
            factors = _descend(tables, body, named, moved, settings)
            if held.padding is not None:
                rows.view(-1, rows.shape[2]).index_fill_(0, held.padding, 0.0)
            if tails is not None and output.tail is not None:
                tails[active] -= output.tail * (settings.learning_rate * factors)[:, None, None]
            losses[active] += output.loss * step.targets.counts
            bounded[active] += output.bounded
            unsafe |= output.unsafe
    return Trained(losses, tails, bounded, unsafe)


def body_precision(precision: str, device: torch.device) -> torch.autocast | nullcontext[None]:
    """Within this block the layers below the output are computed in ``precision``, where it is bfloat16."""
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _descend(
    tables: Mapping[str, torch.Tensor],
    body: Mapping[str, torch.Tensor],
    named: NamedRows,
    moved: torch.Tensor,
    settings: ClientSettings,
) -> torch.Tensor:
    """A step of SGD of each client; (C,) what its gradient was clipped to."""
    rate = settings.learning_rate
    factors = torch.ones(len(moved), device=moved.device)
    if settings.clip is None:
        named.add_gradients(tables, -rate)
        moved_by = [(value, value.grad) for value in body.values() if value.grad is not None]
        if moved_by:
            torch._foreach_add_(*map(list, zip(*moved_by, strict=True)), alpha=-rate)
        return factors
    gradients = {OUTPUT: moved}
    for table in named.tables.values():
        gradients.setdefault(table, torch.zeros_like(tables[table]))
    named.add_gradients(gradients, 1.0)
    gradients |= {f"body.{name}": value.grad for name, value in body.items() if value.grad is not None}
    norms = torch.stack([torch.linalg.vector_norm(value.flatten(1), dim=1) for value in gradients.values()])
    # As torch.nn.utils.clip_grad_norm_ scales what it clips.
    whole = torch.linalg.vector_norm(norms, dim=0)
    factors = torch.clamp(settings.clip / (whole + 1e-6), max=1)
    for name, gradient in gradients.items():
        value = body[name.removeprefix("body.")] if name.startswith("body.") else tables[name]
        value.sub_(gradient * (rate * factors).view(-1, *[1] * (gradient.dim() - 1)))
    return factors
