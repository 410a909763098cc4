"""Losses of the output layer for several clients at once: the sums of ``output_layer`` and ``binary_loss``.

A client that holds fewer rows than another has rows of zeros at its end, whose weight is zero: they count for
nothing, but are moved as others are, and whoever moves rows puts them back. There is no look at a number in
between, which would make the host wait for the device: where exponentials may have overflowed that is noted,
and whoever asked begins anew with every logit shifted by the largest of its query.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

from hashfed.models.output_layer import HIGHEST_PLANE, LEAST_SHARE, SAFE_SUM
from hashfed.models.stacked_batch import StackedTargets
from hashfed.retrieval.planes import Planes


@dataclass(frozen=True)
class StackedRows:
    """The output rows of C clients.

    Attributes:
        rows: (C, m, d).
        weights: (C, m) of what each stands for, e^{log_weight}, 0 where there is none; None: 1 each.
        planes: of each client's tail, with a first dimension C; offsets −∞ where there is none; or None.
        moved: (C, m, d) to which gradients are added, times ``scale``: the rows themselves, or others.
        scale: of the gradients.
        most_logits: held at one time.
        shifted: whether logits are shifted before they are exponentiated.

    """

    rows: torch.Tensor
    weights: torch.Tensor | None
    planes: Planes | None
    moved: torch.Tensor
    scale: float
    most_logits: int
    shifted: bool

    def part(self, clients: slice) -> "StackedRows":
        """Those of some clients."""
        return StackedRows(
            self.rows[clients],
            None if self.weights is None else self.weights[clients],
            None if self.planes is None else Planes(*(value[clients] for value in self.planes.tensors())),
            self.moved[clients],
            self.scale,
            self.most_logits,
            self.shifted,
        )


@dataclass(frozen=True)
class StackedGradients:
    """What a batch of each client asks of the output layer.

    Attributes:
        loss: (C,) mean over a client's predictions, nats.
        queries: (C, p, d) its gradient by the queries.
        tail: (C, K, d) as of ``OutputGradients``; None without planes.
        bounded: (C,) likewise.
        unsafe: () bool, whether logits have to be shifted.

    """

    loss: torch.Tensor
    queries: torch.Tensor
    tail: torch.Tensor | None
    bounded: torch.Tensor
    unsafe: torch.Tensor


class StackedLoss(Protocol):
    """Gradients of a batch; those of the rows are added to ``held.moved``."""

    def __call__(self, queries: torch.Tensor, held: StackedRows, targets: StackedTargets) -> StackedGradients:
        """``queries`` (C, p, d), without gradient."""
        ...


def stacked_softmax(queries: torch.Tensor, held: StackedRows, targets: StackedTargets) -> StackedGradients:
    """See ``output_layer.output_gradients``."""
    return _in_parts(_softmax, queries, held, targets)


def stacked_binary(queries: torch.Tensor, held: StackedRows, targets: StackedTargets) -> StackedGradients:
    """See ``binary_loss.binary_gradients``."""
    return _in_parts(_binary, queries, held, targets)


def _in_parts(
    loss: StackedLoss,
    queries: torch.Tensor,
    held: StackedRows,
    targets: StackedTargets,
) -> StackedGradients:
    """Of as many clients at a time as have ``held.most_logits``, or of one, some predictions at a time."""
    count, predictions, _ = queries.shape
    # What a model makes of padding is any number, whose exponential may be infinite; and that times 0 is NaN.
    queries = queries.masked_fill(targets.present[:, :, None] == 0, 0.0)
    each = predictions * held.rows.shape[1]
    clients = max(1, held.most_logits // each)
    if clients >= count and each <= held.most_logits:
        return loss(queries, held, targets)
    found = []
    for start in range(0, count, clients):
        part = slice(start, start + clients)
        some = held.part(part), targets.part(part)
        if each <= held.most_logits:
            found.append(loss(queries[part], *some))
        else:
            found.append(_in_pieces(loss, queries[part], *some))
    return StackedGradients(
        torch.cat([one.loss for one in found]),
        torch.cat([one.queries for one in found]),
        None if found[0].tail is None else torch.cat([one.tail for one in found if one.tail is not None]),
        torch.cat([one.bounded for one in found]),
        torch.stack([one.unsafe for one in found]).any(),
    )


def _in_pieces(
    loss: StackedLoss,
    queries: torch.Tensor,
    held: StackedRows,
    targets: StackedTargets,
) -> StackedGradients:
    """Of some predictions at a time; the rows move when all of them are through."""
    most = max(1, held.most_logits // held.rows.shape[1])
    total = torch.zeros_like(held.moved)
    apart = StackedRows(
        held.rows, held.weights, held.planes, total, held.scale, held.most_logits, held.shifted
    )
    found = []
    for start in range(0, queries.shape[1], most):
        part = slice(start, start + most)
        inside = (targets.owners >= start) & (targets.owners < start + most)
        some = StackedTargets(
            targets.rows,
            torch.where(inside, targets.owners - start, 0),
            torch.where(inside, targets.shares, 0.0),
            targets.present[:, part],
            targets.counts,
        )
        found.append(loss(queries[:, part], apart, some))
    held.moved.add_(total)
    tails = [one.tail for one in found if one.tail is not None]
    return StackedGradients(
        torch.stack([one.loss for one in found]).sum(0),
        torch.cat([one.queries for one in found], 1),
        torch.stack(tails).sum(0) if tails else None,
        torch.stack([one.bounded for one in found]).sum(0),
        torch.stack([one.unsafe for one in found]).any(),
    )


def _softmax(queries: torch.Tensor, held: StackedRows, targets: StackedTargets) -> StackedGradients:
    rows, weights, present, counts = held.rows, held.weights, targets.present, targets.counts
    logits = torch.bmm(queries, rows.transpose(1, 2))
    flat = targets.owners * rows.shape[1] + targets.rows
    found = logits.flatten(1).gather(1, flat)
    shift = torch.zeros_like(logits[:, :, :1])
    if held.shifted:
        seen = logits if weights is None else logits + weights.log()[:, None]
        shift = seen.amax(2, keepdim=True)
        # Nothing is above the largest but rows that are none, of any distance from it.
        logits.sub_(shift).clamp_max_(0)
    powers, weighted_rows = logits.exp_(), rows
    if weights is None:
        total = powers.sum(2)
    else:
        total = torch.bmm(powers, weights[:, :, None]).squeeze(2)
        weighted_rows = rows * weights[:, :, None]
    unsafe = ((total < SAFE_SUM[0]) | (total > SAFE_SUM[1]) | ~torch.isfinite(total)) & (present > 0)
    least, extra, tail = total, None, None
    bounded = torch.zeros_like(counts)
    if held.planes is not None:
        highest = _Highest.of(queries, held.planes)
        unsafe |= (highest.value > HIGHEST_PLANE) & (present > 0)
        power = (highest.value - shift.squeeze(2)).clamp_max(HIGHEST_PLANE).exp()
        change = power * highest.factor
        kept = total + change > total * LEAST_SHARE
        least = torch.where(kept, total + change, total * LEAST_SHARE)
        total = torch.where(kept, least, total)
        power = power * kept
        extra = highest.gradient(held.planes) * power[:, :, None]
        bounded = (present * ~kept).sum(1)
    inverse = present / (total * counts[:, None])
    if held.planes is not None:
        moved = torch.zeros_like(highest.planes).scatter_(
            2, highest.index[:, :, None], (power * inverse)[:, :, None]
        )
        tail = torch.bmm(moved.transpose(1, 2), queries)
    summed = _add_at(torch.zeros_like(present), targets.owners, targets.shares * found)
    loss = torch.where(present > 0, least.log() + shift.squeeze(2) - summed, 0.0)
    # A target's power less Z is, over Z, the probability less one.
    pulled = -targets.shares * total.gather(1, targets.owners)
    _add_at(powers, flat, pulled)
    by_queries = torch.bmm(powers, weighted_rows)
    if extra is not None:
        by_queries += extra
    scaled = queries * inverse[:, :, None]
    held.moved.baddbmm_(powers.transpose(1, 2), scaled, alpha=held.scale)
    return StackedGradients(
        loss.sum(1) / counts,
        by_queries * inverse[:, :, None],
        tail,
        bounded,
        unsafe.any() & (not held.shifted),
    )


def _binary(queries: torch.Tensor, held: StackedRows, targets: StackedTargets) -> StackedGradients:
    rows, weights, present, counts = held.rows, held.weights, targets.present, targets.counts
    logits = torch.bmm(queries, rows.transpose(1, 2))
    flat = targets.owners * rows.shape[1] + targets.rows
    there = (targets.shares > 0).to(logits.dtype)
    found = logits.flatten(1).gather(1, flat) * there
    every, weighted_rows = functional.softplus(logits), rows
    if weights is None:
        negative = every.sum(2)
    else:
        negative = torch.bmm(every, weights[:, :, None]).squeeze(2)
        weighted_rows = rows * weights[:, :, None]
    loss = (negative * present).sum(1) - found.sum(1)
    chances = logits.sigmoid_()
    _add_at(chances, flat, -there)
    inverse = (present / counts[:, None])[:, :, None]
    by_queries = torch.bmm(chances, weighted_rows) * inverse
    held.moved.baddbmm_(chances.transpose(1, 2), queries * inverse, alpha=held.scale)
    nothing = torch.zeros_like(counts)
    return StackedGradients(
        loss / counts, by_queries, None, nothing, torch.zeros_like(nothing[0], dtype=torch.bool)
    )


def _add_at(values: torch.Tensor, places: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
    """Add changes (C, q) at ``places`` (C, q) of each client's values (C, …), in place; returns these.

    As one sum over one dimension, for which torch has an algorithm whose sums have one order on a GPU.
    """
    each = values[0].numel()
    first = torch.arange(len(values), device=values.device)[:, None] * each
    values.view(-1).index_add_(0, (places + first).flatten(), changes.flatten())
    return values


@dataclass(frozen=True)
class _Highest:
    """The largest plane at each query.

    Attributes:
        planes: (C, p, K) all of them.
        index: (C, p) which one.
        value: (C, p).
        factor: (C, p) what multiplies its exponential in the partition function.

    """

    planes: torch.Tensor
    index: torch.Tensor
    value: torch.Tensor
    factor: torch.Tensor

    @classmethod
    def of(cls, queries: torch.Tensor, planes: Planes) -> "_Highest":
        every = torch.baddbmm(planes.offsets[:, None], queries, planes.slopes.transpose(1, 2))
        value, index = every.max(2)
        error = planes.errors.gather(1, index) - (queries * _chosen(planes.error_slopes, index)).sum(2)
        return cls(every, index, value, error)

    def gradient(self, planes: Planes) -> torch.Tensor:
        """(C, p, d) of e^{plane(q)} s(q) by the queries, over e^{plane(q)}."""
        slopes, errors = (_chosen(value, self.index) for value in (planes.slopes, planes.error_slopes))
        return slopes * self.factor[:, :, None] - errors


def _chosen(vectors: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Of vectors (C, K, d) those at ``index`` (C, p), (C, p, d)."""
    return vectors.gather(1, index[:, :, None].expand(-1, -1, vectors.shape[2]))
