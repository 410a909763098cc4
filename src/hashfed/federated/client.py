"""A client's part of a round (paper, section 3.2, steps 2, 3 and 5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hashfed.data.sentences import Sentences
from hashfed.data.vocabulary import PAD
from hashfed.errors import ClientDivergedError
from hashfed.federated.messages import ClientKeys, Declare, SelectedRows, Update, Welcome
from hashfed.federated.settings import ClientSettings
from hashfed.models import Model, WorkSpace, output_gradients
from hashfed.retrieval import Encoder, make_encoder
from hashfed.retrieval.planes import Planes

HASH_BATCH = 64
"""Sentences per forward pass when queries are computed."""


@dataclass(frozen=True)
class LocalModel:
    """All that a client holds: never anything of size n.

    Attributes:
        ids: (m,) int64 ascending, or None where it holds all rows, in order.
        rows: (m, d).
        log_weight: (m,) float32, or None.
        body: all other parameters.
        planes: of the rows that it does not hold with certainty, or None.

    """

    ids: np.ndarray | None
    rows: torch.Tensor
    log_weight: torch.Tensor | None
    body: dict[str, torch.Tensor]
    planes: Planes | None = None


def sample_sentences(
    sentences: Sentences,
    settings: ClientSettings,
    budget: int,
    rng: np.random.Generator,
) -> Sentences:
    """The data of this round: at most ``settings.sentences`` of them, drawn without replacement.

    With ``own_rows: truncate`` the drawn sentences end before the first whose rows would make the own
    rows exceed ``budget`` (the first sentence always stays).
    """
    count = min(len(sentences), settings.sentences)
    drawn = sentences.take(rng.choice(len(sentences), count, replace=False))
    if settings.own_rows == "keep":
        return drawn
    known: set[int] = set()
    for index in range(len(drawn)):
        known.update(drawn.take(np.array([index])).own_rows().tolist())
        if index > 0 and len(known) > budget:
            return drawn.take(np.arange(index))
    return drawn


def declare(sentences: Sentences, round: int, budget: int) -> Declare:
    """Step 2: the rows that the client's inputs and labels need, and how many the device may hold."""
    return Declare(round, sentences.own_rows().astype(np.int32), budget)


def hash_queries(
    model: Model,
    welcome: Welcome,
    own: np.ndarray,
    sentences: Sentences,
    sketcher: Encoder | None = None,
) -> ClientKeys:
    """Step 3: embed the data with the body and the own rows, hash, and name the buckets.

    Args:
        model: the model's functions.
        welcome: what the server sent.
        own: (o,) ids, ascending, whose rows ``welcome`` holds.
        sentences: of this round.
        sketcher: makes what is sent for the planes alone, if anything is.

    Raises:
        HashfedError: where a query is not finite, or the encoder is unknown.

    """
    encoder = make_encoder(welcome.encoder, welcome.encoder_numbers | welcome.encoder_arrays)
    local = LocalModel(own.astype(np.int64), welcome.own_rows, None, welcome.body)
    with torch.no_grad():
        queries = _queries(model, local, sentences)
    if not bool(torch.isfinite(queries.sum())):
        raise ClientDivergedError("a client's queries are not finite: the training diverged")
    queries = queries.cpu()
    sketch = {} if sketcher is None else dict(sketcher.encode(queries))
    return ClientKeys(welcome.round, dict(encoder.encode(queries)), sketch)


def join_rows(welcome: Welcome, own: np.ndarray, selected: SelectedRows) -> LocalModel:
    """Own rows and received rows as one table in order of ids, whatever order they came in."""
    if selected.ids is None:
        return LocalModel(None, selected.rows, selected.log_weight, welcome.body)
    unsorted = np.concatenate([own, selected.ids]).astype(np.int64)
    order = np.argsort(unsorted, kind="stable")
    permutation = torch.from_numpy(order).to(selected.rows.device)
    rows = torch.cat([welcome.own_rows, selected.rows])[permutation]
    log_weight = None
    if selected.log_weight is not None:
        weights = torch.cat([torch.zeros(len(own)), selected.log_weight.cpu()])
        log_weight = weights.to(selected.rows.device)[permutation]
    return LocalModel(unsorted[order], rows, log_weight, welcome.body, selected.planes)


def drop_rows(
    model: Model, local: LocalModel, own: np.ndarray, sentences: Sentences, budget: int
) -> LocalModel:
    """Keep ``budget`` rows: the own ones, the uniform tail, and those with the largest activations.

    The paper (section 3.2) suggests it for a server that finds more rows than the client may hold. A
    row's activation is its softmax mass over the client's queries, among the rows at hand. Rows of the
    tail (log_weight > 0) stay, for they stand for all rows that were not sent.
    """
    if local.ids is None or len(local.ids) <= budget:
        return local
    fixed = np.isin(local.ids, own)
    if local.log_weight is not None:
        fixed |= local.log_weight.cpu().numpy() > 0
    count = kept_rows(len(local.ids), int(fixed.sum()), budget)
    if count == int(fixed.sum()):
        # Nothing is left to choose, so no activation need be known: that is a pass over all sentences.
        kept = np.flatnonzero(fixed)
    else:
        with torch.no_grad():
            mass = torch.zeros(len(local.ids), device=local.rows.device)
            for queries in _query_batches(model, local, sentences):
                mass += torch.softmax(queries @ local.rows.T, dim=1).sum(0)
        score = np.where(fixed, np.inf, mass.cpu().numpy())
        kept = np.sort(np.argsort(-score, kind="stable")[:count])
    index = torch.from_numpy(kept).to(local.rows.device)
    log_weight = None if local.log_weight is None else local.log_weight[index]
    return LocalModel(local.ids[kept], local.rows[index], log_weight, local.body, local.planes)


def kept_rows(count: int, fixed: int, budget: int) -> int:
    """How many of ``count`` rows ``drop_rows`` keeps, of which ``fixed`` are own rows or of the tail."""
    return count if count <= budget else max(budget, fixed)


def train(
    model: Model,
    local: LocalModel,
    sentences: Sentences,
    settings: ClientSettings,
    round: int,
    rng: np.random.Generator,
) -> tuple[Update, int]:
    """Step 5: E epochs of SGD on body and selected rows; returns what changed.

    While it trains, a drawn row moves as the row that it is; its change is that times 1/π. So the client's Z
    follows that of full training over all steps, not for the first alone. ``local`` is left as it was.

    Returns:
        The update, and at how many predictions the partition function was bounded (``models.output_layer``).

    """
    rows = local.rows.clone()
    body = {name: value.clone().requires_grad_() for name, value in local.body.items()}
    inputs, targets, predicted = _remap(local, sentences)
    space = WorkSpace()
    longest = predicted.sum(1).topk(min(settings.batch_size, len(predicted))).values
    space.reserve(max(1, int(longest.sum())), rows)
    total_loss, total_predictions = 0.0, 0
    tail = None if local.planes is None else torch.zeros_like(local.planes.slopes)
    bounded = 0
    for _ in range(settings.epochs):
        order = torch.from_numpy(rng.permutation(len(sentences))).to(rows.device)
        for batch in order.split(settings.batch_size):
            used = predicted[batch]
            labels = targets[batch][used]
            # Only the rows of the inputs take part in autograd; those of the output layer are moved in place.
            needed, positions = inputs[batch].unique(return_inverse=True)
            input_rows = rows[needed].requires_grad_()
            queries = model.queries(body, input_rows, positions, used)
            output = output_gradients(queries.detach(), rows, local.log_weight, labels, space, local.planes)
            _GivenGradient.apply(queries, output.queries).backward()  # type: ignore[no-untyped-call]
            scale = 1.0
            if settings.clip is None:
                output.add_to(rows, -settings.learning_rate)
                _add_rows(rows, needed, input_rows.grad, -settings.learning_rate)
            else:
                rows.grad = torch.zeros_like(rows)
                output.add_to(rows.grad, 1.0)
                _add_rows(rows.grad, needed, input_rows.grad, 1.0)
                # In order of names: the body comes in another order over a network.
                moved = [rows, *(body[name] for name in sorted(body))]
                found = torch.nn.utils.clip_grad_norm_(moved, settings.clip)
                scale = min(1.0, settings.clip / (float(found) + 1e-6))  # as torch scales what it clips
                rows.add_(rows.grad, alpha=-settings.learning_rate)
            _descend(body, settings.learning_rate)
            if tail is not None and output.tail is not None:
                tail.add_(output.tail, alpha=-settings.learning_rate * scale)
            bounded += output.bounded
            total_loss += output.loss.item() * len(labels)
            total_predictions += len(labels)
    with torch.no_grad():
        rows.sub_(local.rows)
        if local.log_weight is not None:
            # What it stands for was not held, and is moved by it in the mean over draws.
            rows.mul_(torch.exp(local.log_weight)[:, None])
        update = Update(
            round=round,
            weight=sentences.predictions,
            loss=total_loss / total_predictions,
            body={name: value.detach().sub_(local.body[name]) for name, value in body.items()},
            ids=None if local.ids is None else local.ids.astype(np.int32),
            rows=rows,
            tail=tail,
        )
    return update, bounded


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


def _descend(body: dict[str, torch.Tensor], learning_rate: float) -> None:
    """A step of plain SGD, after which no gradient is left.

    ``torch.optim.SGD`` does the same sums, but imports torch's compiler when it is made: a second, in every
    process that answers one message of a network.
    """
    with torch.no_grad():
        for value in body.values():
            if value.grad is not None:
                value.add_(value.grad, alpha=-learning_rate)
                value.grad = None


def _add_rows(table: torch.Tensor, index: torch.Tensor, rows: torch.Tensor | None, scale: float) -> None:
    """``table[index] += scale · rows``; None where the model's queries do not depend on the rows."""
    if rows is not None:
        table.index_add_(0, index, rows, alpha=scale)


def _remap(local: LocalModel, sentences: Sentences) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs and targets as positions in the client's rows, and which positions are predicted."""
    predicted = sentences.targets != PAD
    if local.ids is None:
        inputs, targets = sentences.inputs.astype(np.int64), sentences.targets.astype(np.int64)
    else:
        inputs = np.searchsorted(local.ids, sentences.inputs)
        targets = np.searchsorted(local.ids, sentences.targets)
    device = local.rows.device
    return (
        torch.from_numpy(inputs).to(device),
        torch.from_numpy(targets).to(device),
        torch.from_numpy(predicted).to(device),
    )


def _queries(model: Model, local: LocalModel, sentences: Sentences) -> torch.Tensor:
    """All queries of the sentences, (p, d)."""
    return torch.cat(list(_query_batches(model, local, sentences)))


def _query_batches(model: Model, local: LocalModel, sentences: Sentences) -> Iterator[torch.Tensor]:
    """The same, ``HASH_BATCH`` sentences at a time."""
    inputs, _, predicted = _remap(local, sentences)
    for batch in zip(inputs.split(HASH_BATCH), predicted.split(HASH_BATCH), strict=True):
        yield model.queries(local.body, local.rows, *batch)
