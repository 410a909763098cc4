"""A client's part of a round (paper, section 3.2, steps 2, 3 and 5)."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch

from hashfed.errors import ClientDivergedError
from hashfed.federated.messages import ClientKeys, Declare, SelectedRows, Update, Welcome
from hashfed.federated.settings import ClientSettings
from hashfed.models import Model, OutputGradients, WorkSpace
from hashfed.models.batch import TouchedRows
from hashfed.models.losses import Loss
from hashfed.models.protocol import OUTPUT, as_named, input_tables, names_of
from hashfed.retrieval import Encoder, make_encoder
from hashfed.retrieval.planes import Planes
from hashfed.tasks.examples import BoundExamples, Examples

SomeExamples = TypeVar("SomeExamples", bound=Examples)

HASH_BATCH = 64
"""Examples per forward pass when queries are computed."""


@dataclass(frozen=True)
class LocalModel:
    """All that a client holds: never anything of size n.

    Attributes:
        ids: (m,) int64 ascending, or None where it holds all rows, in order.
        rows: (m, d).
        log_weight: (m,) float32, or None.
        body: all other parameters.
        planes: of the rows that it does not hold with certainty, or None.
        inputs: ids (t,) int64 ascending by input table, of the rows that its data touch.
        input_rows: (t, w) by input table.

    """

    ids: np.ndarray | None
    rows: torch.Tensor
    log_weight: torch.Tensor | None
    body: dict[str, torch.Tensor]
    planes: Planes | None = None
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    input_rows: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def tables(self) -> dict[str, torch.Tensor]:
        """The rows at hand, by table."""
        # In order of names: they come in another order over a network.
        return {OUTPUT: self.rows, **{name: self.input_rows[name] for name in sorted(self.input_rows)}}

    def bind(self, model: Model, examples: Examples) -> BoundExamples:
        """Examples as positions in these rows, on their device."""
        return examples.bind(as_named(model, {OUTPUT: self.ids, **self.inputs}), self.rows.device)


def own_rows(model: Model, examples: Examples, table: str = OUTPUT) -> np.ndarray:
    """Ids of the rows of one of the model's tables that examples need: ascending, int64."""
    return examples.own(*names_of(model, table))


def sample_examples(
    model: Model, examples: SomeExamples, settings: ClientSettings, budget: int, rng: np.random.Generator
) -> SomeExamples:
    """The data of this round: at most ``settings.examples`` of them, drawn without replacement.

    With ``own_rows: truncate`` the drawn examples end before the first whose rows would make the own
    rows exceed ``budget`` (the first example always stays).
    """
    count = min(len(examples), settings.examples)
    drawn = examples.take(rng.choice(len(examples), count, replace=False))
    if settings.own_rows == "keep":
        return drawn
    known: set[int] = set()
    for index in range(len(drawn)):
        known.update(own_rows(model, drawn.take(np.array([index]))).tolist())
        if index > 0 and len(known) > budget:
            return drawn.take(np.arange(index))
    return drawn


def declare(
    model: Model, examples: Examples, round: int, budget: int, own: np.ndarray | None = None
) -> Declare:
    """Step 2: the rows that the client's inputs and labels need, and how many the device may hold.

    Args:
        model: its functions.
        examples: of this round.
        round: its number.
        budget: rows that the device may hold.
        own: ``own_rows`` of these examples, where they are known.

    """
    own = own_rows(model, examples) if own is None else own
    return Declare(round, own.astype(np.int32), budget, touched_rows(model, examples))


def touched_rows(model: Model, examples: Examples) -> dict[str, np.ndarray]:
    """Ids (t,) int32 by input table, of the rows that a declaration names."""
    return {name: own_rows(model, examples, name).astype(np.int32) for name in input_tables(model)}


def hash_queries(
    model: Model,
    welcome: Welcome,
    declared: Declare,
    examples: Examples,
    sketcher: Encoder | None = None,
) -> ClientKeys:
    """Step 3: embed the data with the body and the own rows, hash, and name the buckets.

    Args:
        model: the model's functions.
        welcome: what the server sent.
        declared: whose rows ``welcome`` holds.
        examples: of this round.
        sketcher: makes what is sent for the planes alone, if anything is.

    Raises:
        HashfedError: where a query is not finite, or the encoder is unknown.

    """
    encoder = make_encoder(welcome.encoder, welcome.encoder_numbers | welcome.encoder_arrays)
    local = _at_hand(welcome, declared, declared.own.astype(np.int64), welcome.own_rows)
    queries = compute_queries(model, local, examples).cpu()
    sketch = {} if sketcher is None else dict(sketcher.encode(queries))
    return ClientKeys(welcome.round, dict(encoder.encode(queries)), sketch)


def compute_queries(model: Model, local: LocalModel, examples: Examples) -> torch.Tensor:
    """The queries (p, d) of all predictions, with rows of which ``local`` has those that examples need.

    Raises:
        ClientDivergedError: where one is not finite.

    """
    with torch.no_grad():
        queries = torch.cat(list(_query_batches(model, local, examples)))
    if not bool(torch.isfinite(queries.sum())):
        raise ClientDivergedError("a client's queries are not finite: the training diverged")
    return queries


def _at_hand(welcome: Welcome, declared: Declare, ids: np.ndarray | None, rows: torch.Tensor) -> LocalModel:
    """What ``welcome`` brings, with these rows."""
    inputs = {name: touched.astype(np.int64) for name, touched in declared.inputs.items()}
    return LocalModel(ids, rows, None, welcome.body, None, inputs, welcome.input_rows)


def join_rows(welcome: Welcome, declared: Declare, selected: SelectedRows) -> LocalModel:
    """Own rows and received rows as one table in order of ids, whatever order they came in."""
    if selected.ids is None:
        return replace(_at_hand(welcome, declared, None, selected.rows), log_weight=selected.log_weight)
    own = declared.own
    unsorted = np.concatenate([own, selected.ids]).astype(np.int64)
    order = np.argsort(unsorted, kind="stable")
    permutation = torch.from_numpy(order).to(selected.rows.device)
    rows = torch.cat([welcome.own_rows, selected.rows])[permutation]
    log_weight = None
    if selected.log_weight is not None:
        weights = torch.cat([torch.zeros(len(own)), selected.log_weight.cpu()])
        log_weight = weights.to(selected.rows.device)[permutation]
    local = _at_hand(welcome, declared, unsorted[order], rows)
    return replace(local, log_weight=log_weight, planes=selected.planes)


def drop_rows(
    model: Model, local: LocalModel, own: np.ndarray, examples: Examples, budget: int
) -> LocalModel:
    """Keep ``budget`` rows: the own ones, the uniform tail, and those with the largest activations.

    The paper (section 3.2) suggests it for a server that finds more rows than the client may hold. A
    row's activation is its softmax mass over the client's queries, among the rows at hand. Rows of the
    tail (log_weight > 0) stay, for they stand for all rows that were not sent.
    """
    if local.ids is None or len(local.ids) <= budget:
        return local
    weight = None if local.log_weight is None else local.log_weight.cpu().numpy()
    fixed = fixed_rows(local.ids, own, weight)
    count = kept_rows(len(local.ids), int(fixed.sum()), budget)
    if count == int(fixed.sum()):
        # Nothing is left to choose, so no activation need be known: that is a pass over all examples.
        kept = np.flatnonzero(fixed)
    else:
        with torch.no_grad():
            mass = torch.zeros(len(local.ids), device=local.rows.device)
            for queries in _query_batches(model, local, examples):
                mass += torch.softmax(queries @ local.rows.T, dim=1).sum(0)
        score = np.where(fixed, np.inf, mass.cpu().numpy())
        kept = np.sort(np.argsort(-score, kind="stable")[:count])
    index = torch.from_numpy(kept).to(local.rows.device)
    log_weight = None if local.log_weight is None else local.log_weight[index]
    return replace(local, ids=local.ids[kept], rows=local.rows[index], log_weight=log_weight)


def fixed_rows(ids: np.ndarray, own: np.ndarray, log_weight: np.ndarray | None) -> np.ndarray:
    """(m,) bool, which rows ``drop_rows`` never drops: own ones, and those of the tail."""
    fixed = np.isin(ids, own)
    return fixed if log_weight is None else fixed | (log_weight > 0)


def kept_rows(count: int, fixed: int, budget: int) -> int:
    """How many of ``count`` rows ``drop_rows`` keeps, of which ``fixed`` are own rows or of the tail."""
    return count if count <= budget else max(budget, fixed)


def train(
    model: Model,
    local: LocalModel,
    examples: Examples,
    settings: ClientSettings,
    loss: Loss,
    round: int,
    rng: np.random.Generator,
    noise: torch.Generator | None = None,
) -> tuple[Update, int]:
    """Step 5: E epochs of SGD on body and selected rows; returns what changed.

    While it trains, a drawn row moves as the row that it is; its change is that times 1/π. So the client's Z
    follows that of full training over all steps, not for the first alone. ``local`` is left as it was.
    A model with dropout draws from ``noise``; without it, it drops nothing.

    Returns:
        The update, and at how many predictions the partition function was bounded (``models.output_layer``).

    """
    tables = {name: rows.clone() for name, rows in local.tables.items()}
    rows = tables[OUTPUT]
    body = {name: value.clone().requires_grad_() for name, value in local.body.items()}
    bound, space = local.bind(model, examples), WorkSpace()
    named = as_named(model, tables)
    longest = bound.weights.topk(min(settings.batch_size, len(examples))).values
    space.reserve(max(1, int(longest.sum())), rows)
    total_loss, total_predictions = 0.0, 0
    tail = None if local.planes is None else torch.zeros_like(local.planes.slopes)
    bounded = 0
    for _ in range(settings.epochs):
        order = torch.from_numpy(rng.permutation(len(examples))).to(rows.device)
        for index in order.split(settings.batch_size):
            # Only the rows of the inputs take part in autograd; those of the output layer are moved in place.
            packed = model.pack(replace(bound.batch(index), noise=() if noise is None else (noise,)))
            batch, touched = packed.touched(named)
            held = {table: part.rows for table, part in touched.items()}
            queries = model.queries(body, held, batch)
            output = loss(queries.detach(), rows, local.log_weight, batch.targets, space, local.planes)
            _GivenGradient.apply(queries, output.queries).backward()  # type: ignore[no-untyped-call]
            moved = [(part, named[name]) for name, part in touched.items()]
            scale = _descend(tables, body, output, moved, settings)
            if tail is not None and output.tail is not None:
                tail.add_(output.tail, alpha=-settings.learning_rate * scale)
            bounded += output.bounded
            total_loss += output.loss.item() * len(batch.targets)
            total_predictions += len(batch.targets)
    update = Update(
        round=round,
        weight=examples.weight,
        loss=total_loss / total_predictions,
        tail=tail,
        **_changes(local, tables, body),
    )
    return update, bounded


@torch.no_grad()
def _changes(
    local: LocalModel, tables: dict[str, torch.Tensor], body: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """Fields of an update: what these tables and this body have moved from ``local``, in their memory."""
    for name, before in local.tables.items():
        tables[name].sub_(before)
    rows = tables[OUTPUT]
    if local.log_weight is not None:
        # What it stands for was not held, and is moved by it in the mean over draws.
        rows.mul_(torch.exp(local.log_weight)[:, None])
    return {
        "body": {name: value.detach().sub_(local.body[name]) for name, value in body.items()},
        "ids": None if local.ids is None else local.ids.astype(np.int32),
        "rows": rows,
        "inputs": {name: ids.astype(np.int32) for name, ids in local.inputs.items()},
        "input_rows": {name: tables[name] for name in local.input_rows},
    }


class _GivenGradient(torch.autograd.Function):
    """A number whose gradient is what is given.

    ``queries.backward(gradient)`` gives the same bits, but imports sympy to compare two shapes: 0.3 s in
    every process that trains.
    """

    @staticmethod
    def forward(ctx: Any, queries: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gradient)
        return queries.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient, None


def _descend(
    tables: dict[str, torch.Tensor],
    body: dict[str, torch.Tensor],
    output: OutputGradients,
    touched: list[tuple[TouchedRows, torch.Tensor]],
    settings: ClientSettings,
) -> float:
    """A step of plain SGD, after which no gradient is left; returns what the gradient was clipped to.

    ``torch.optim.SGD`` does the same sums, but imports torch's compiler when it is made: a second, in every
    process that answers one message of a network.
    """
    rate, scale = settings.learning_rate, 1.0
    if settings.clip is None:
        output.add_to(tables[OUTPUT], -rate)
        for part, table in touched:
            part.add_gradient(table, -rate)
    else:
        for table in tables.values():
            table.grad = torch.zeros_like(table)
        output.add_to(_gradient(tables[OUTPUT]), 1.0)
        for part, table in touched:
            part.add_gradient(_gradient(table), 1.0)
        # In order of names: the body comes in another order over a network.
        moved = [*tables.values(), *(body[name] for name in sorted(body))]
        found = torch.nn.utils.clip_grad_norm_(moved, settings.clip)
        scale = min(1.0, settings.clip / (float(found) + 1e-6))  # as torch scales what it clips
        for table in tables.values():
            table.add_(_gradient(table), alpha=-rate)
    with torch.no_grad():
        for value in body.values():
            if value.grad is not None:
                value.add_(value.grad, alpha=-rate)
                value.grad = None
    return scale


def _gradient(table: torch.Tensor) -> torch.Tensor:
    if table.grad is None:
        raise ValueError("a table without a gradient")
    return table.grad


def _query_batches(model: Model, local: LocalModel, examples: Examples) -> Iterator[torch.Tensor]:
    """All queries of the examples (p, d), of ``HASH_BATCH`` examples at a time."""
    bound, tables = local.bind(model, examples), as_named(model, local.tables)
    for index in torch.arange(len(examples), device=local.rows.device).split(HASH_BATCH):
        yield model.queries(local.body, tables, model.pack(bound.batch(index)))
