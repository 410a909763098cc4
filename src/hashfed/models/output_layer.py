"""Softmax cross-entropy of the output layer and its gradients, without autograd and with one copy of logits.

For queries Q (p, d), rows W (m, d) and sets of targets T, with E = exp(Q Wᵀ + log_weight), Z_p = Σ_i E_pi and
the mean over a query's targets t ∈ T_p (most often there is one):

    loss    = mean_p (log Z_p − mean_t logit_p,t)
    ∂loss/∂Q = (E W / Z − mean_t W_t) / p
    ∂loss/∂W = e^{−log_weight} Eᵀ (Q / Z) / p, less q/(p |T|) at the row of each target

The rows are taken in blocks whose logits stay in the cache while they are exponentiated, summed and
multiplied with the rows again, so the only array of size p × m is E. The gradient of the rows is not formed:
it is added, block by block, to whatever table the caller names, such as the rows themselves (SGD in place).

A row that stands for others (log_weight > 0) counts e^{log_weight} times in Z, but is moved by *one* row's
gradient: moved by that of all it stands for, while it counts for them too, it would leave Z too soon. Whoever
sums clients' changes multiplies its change instead (``federated.client.train``).

With planes of the rows that are not at hand (``retrieval.planes``), Z has one more term, e^{plane(q)} s(q),
of the largest plane at q; its factor s may be negative, so Z is kept above ``LEAST_SHARE`` of the sum over
the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from hashfed.models.batch import Targets
from hashfed.retrieval.planes import Planes

BLOCK_LOGITS = 1 << 17
"""Logits of one block of rows: 512 KiB, which a usual second-level cache holds with room to spare."""
ALIGNED = 16
"""Widths of blocks are multiples of a cache line of floats: 4 to 10% faster than any width."""
MAX_LOGITS = 1 << 25
"""Most logits held at a time (128 MiB); more are worked through in chunks of positions."""
SAFE_SUM = 1e-20, 1e30
"""Sums of exponentials between which no shift of the logits is needed: nothing has overflowed, and what
underflowed is below 1e-18 of the sum."""
LEAST_SHARE = 0.05
"""Of the sum over the rows at hand that remains, however negative the planes' term is. A position where that
acts is trained on the rows at hand alone."""
HIGHEST_PLANE = 60.0
"""Nats of a plane without a shift of the logits, or above the largest logit at hand with one; beyond that
nothing at hand would count."""


@dataclass(frozen=True)
class OutputGradients:
    """What one batch asks of the output layer.

    Attributes:
        loss: () mean cross-entropy, nats.
        queries: (p, d) gradient of the loss by the queries.
        tail: (K, d) Σ (e^{plane_j(q)} / Z) q / p over the queries at each plane: what moves the rows that are
            not at hand; None without planes.
        bounded: queries at which Z was bounded.

    """

    loss: torch.Tensor
    queries: torch.Tensor
    tail: torch.Tensor | None
    bounded: int
    _parts: "Chunk | torch.Tensor"

    def add_to(self, table: torch.Tensor, scale: float) -> None:
        """Add ``scale`` times the gradient of the loss by the rows to ``table`` (m, d), in place.

        That of one row, where a row stands for several. To be called once, at any time before the work space
        is used again; ``table`` may be the rows.
        """
        if isinstance(self._parts, torch.Tensor):
            table.add_(self._parts, alpha=scale)
        else:
            self._parts.add_to(table, scale)


class WorkSpace:
    """Memory for exponentials that is reused from step to step."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def reserve(self, positions: int, rows: torch.Tensor) -> None:
        """Make room for batches of up to ``positions`` over ``rows`` (m, d), so that it need not grow later.

        While a larger piece is taken the smaller one still lives, and leaves a gap in the heap afterwards.
        """
        self.take(min(positions, max(1, MAX_LOGITS // len(rows))), len(rows), rows)

    def take(self, positions: int, rows: int, like: torch.Tensor) -> list[torch.Tensor]:
        """Uninitialised blocks (positions, k) whose widths k add up to ``rows``."""
        if len(self._memory) < positions * rows or self._memory.device != like.device:
            self._memory = torch.empty(positions * rows, device=like.device)
        # A GPU has no such cache: few large products keep it busy.
        width = rows if like.is_cuda else max(1, BLOCK_LOGITS // positions // ALIGNED) * ALIGNED
        return [
            self._memory[start * positions : min(start + width, rows) * positions].view(positions, -1)
            for start in range(0, rows, width)
        ]


def output_gradients(
    queries: torch.Tensor,
    rows: torch.Tensor,
    log_weight: torch.Tensor | None,
    targets: Targets,
    space: WorkSpace,
    planes: Planes | None = None,
) -> OutputGradients:
    """Loss and gradients of the mean cross-entropy over the rows at hand.

    Args:
        queries: (p, d) float32, p ≥ 1, without gradient.
        rows: (m, d) float32.
        log_weight: (m,) added to the logits, or None for nothing (``retrieval.select``).
        targets: sets of positions in ``rows``.
        space: memory to work in; the result refers to it.
        planes: of the rows that are not at hand.

    """

    def chunk(queries: torch.Tensor, targets: Targets, count: int) -> _Chunk:
        return _Chunk.of(queries, rows, log_weight, targets, count, space, planes)

    return in_chunks(queries, rows, targets, chunk)


class Chunk(Protocol):
    """What some queries of a batch ask of the output layer: their share of ``OutputGradients``."""

    @property
    def loss(self) -> torch.Tensor:
        """() their share of the batch's mean loss."""
        ...

    @property
    def queries_gradient(self) -> torch.Tensor:
        """(p, d)."""
        ...

    @property
    def tail(self) -> torch.Tensor | None:
        """As of ``OutputGradients``."""
        ...

    @property
    def bounded(self) -> int:
        """Likewise."""
        ...

    def add_to(self, table: torch.Tensor, scale: float) -> None:
        """Likewise."""
        ...


def in_chunks(
    queries: torch.Tensor,
    rows: torch.Tensor,
    targets: Targets,
    chunk: Callable[[torch.Tensor, Targets, int], Chunk],
) -> OutputGradients:
    """A loss of any kind, over no more than ``MAX_LOGITS`` logits at a time.

    Args:
        queries: (p, d).
        rows: (m, d) at hand.
        targets: of the queries.
        chunk: the loss of some queries, with their targets, of a batch of so many.

    """
    count = len(queries)
    most = max(1, MAX_LOGITS // len(rows))
    with torch.no_grad():
        if count <= most:
            whole = chunk(queries, targets, count)
            return OutputGradients(whole.loss, whole.queries_gradient, whole.tail, whole.bounded, whole)
        loss, by_queries, by_rows = torch.zeros(()), torch.empty_like(queries), torch.zeros_like(rows)
        tail: torch.Tensor | None = None
        start, bounded = 0, 0
        for some in targets.split(most):
            part = slice(start, start + len(some))
            start = part.stop
            found = chunk(queries[part], some, count)
            loss = loss + found.loss
            by_queries[part] = found.queries_gradient
            found.add_to(by_rows, 1.0)
            bounded += found.bounded
            if found.tail is not None:
                tail = torch.zeros_like(found.tail) if tail is None else tail
                tail += found.tail
        return OutputGradients(loss, by_queries, tail, bounded, by_rows)


@dataclass(frozen=True)
class _Chunk:
    """Some positions of a batch of ``count``, with their exponentials.

    Attributes:
        loss: () their share of the batch's mean loss.
        queries_gradient: (p, d).
        pull: (q, d) what each target's row is moved by: its query over ``count`` and the number of targets.
        targets: (q,) positions of rows.
        scaled: (p, d) queries over (Z · count).
        exponentials: blocks (p, k) of E.
        tail: (K, d), as ``OutputGradients``.
        bounded: likewise.
        shares: (m,) e^{−log_weight}, or None.

    """

    loss: torch.Tensor
    queries_gradient: torch.Tensor
    pull: torch.Tensor
    targets: torch.Tensor
    scaled: torch.Tensor
    exponentials: list[torch.Tensor]
    tail: torch.Tensor | None
    bounded: int
    shares: torch.Tensor | None

    @classmethod
    def of(
        cls,
        queries: torch.Tensor,
        rows: torch.Tensor,
        log_weight: torch.Tensor | None,
        targets: Targets,
        count: int,
        space: WorkSpace,
        planes: Planes | None = None,
    ) -> "_Chunk":
        blocks = space.take(len(queries), len(rows), queries)
        shift = torch.zeros((), device=queries.device)
        highest = None if planes is None else _HighestPlanes.of(queries, planes)
        total, weighted = _exponentiate(queries, rows, log_weight, None, blocks)
        smallest, largest = torch.aminmax(total)
        safe = SAFE_SUM[0] <= float(smallest) and float(largest) <= SAFE_SUM[1]
        if not (safe and (highest is None or highest.value_is_safe)):
            shift = _largest_logits(queries, rows, log_weight, blocks)
            total, weighted = _exponentiate(queries, rows, log_weight, shift, blocks)
        tail, bounded = None, 0
        least = total
        if highest is not None and planes is not None:
            power = (highest.value - shift).clamp_max(HIGHEST_PLANE).exp_()
            change = power * highest.factor
            kept = total + change > total * LEAST_SHARE
            least = torch.where(kept, total + change, total * LEAST_SHARE)
            total = torch.where(kept, least, total)
            power = power * kept
            weighted.add_(highest.gradient(planes) * power[:, None])
            bounded = len(kept) - int(kept.sum())
            share = (power / (total * count))[:, None]
            tail = torch.zeros_like(planes.slopes).index_add_(0, highest.index, queries * share)
        found = _Found.of(queries, rows, log_weight, targets)
        return cls(
            loss=(least.log() + shift - found.logits).sum() / count,
            queries_gradient=weighted.div_(total[:, None]).sub_(found.rows).div_(count),
            pull=found.pull / count,
            targets=targets.rows,
            scaled=queries / (total * count)[:, None],
            exponentials=blocks,
            tail=tail,
            bounded=bounded,
            shares=None if log_weight is None else torch.exp(-log_weight),
        )

    def add_to(self, table: torch.Tensor, scale: float) -> None:
        start = 0
        for block in self.exponentials:
            end = start + block.shape[1]
            if self.shares is not None:
                block.mul_(self.shares[start:end])
            table[start:end].addmm_(block.T, self.scaled, alpha=scale)
            start = end
        pull = self.pull if self.shares is None else self.pull * self.shares[self.targets][:, None]
        table.index_add_(0, self.targets, pull, alpha=-scale)


@dataclass(frozen=True)
class _Found:
    """What queries have of their targets.

    Attributes:
        logits: (p,) mean of the targets' logits.
        rows: (p, d) mean of their rows.
        pull: (q, d) the query of each target, over the number of targets that it has.

    """

    logits: torch.Tensor
    rows: torch.Tensor
    pull: torch.Tensor

    @classmethod
    def of(
        cls, queries: torch.Tensor, rows: torch.Tensor, log_weight: torch.Tensor | None, targets: Targets
    ) -> "_Found":
        target_rows, pull = rows[targets.rows], queries
        if targets.counts is not None:
            share = 1 / targets.counts.to(queries.dtype)[:, None]
            pull = (queries * share)[targets.owners]
            weighted = target_rows * share[targets.owners]
            target_rows = torch.zeros_like(queries).index_add_(0, targets.owners, weighted)
        logits = (queries * target_rows).sum(1)
        if log_weight is not None:
            weights = log_weight[targets.rows]
            if targets.counts is None:
                logits += weights
            else:
                logits.index_add_(0, targets.owners, weights * share[targets.owners].squeeze(1))
        return cls(logits, target_rows, pull)


@dataclass(frozen=True)
class _HighestPlanes:
    """The largest plane at each query.

    Attributes:
        index: (p,) which one.
        value: (p,) plane(q).
        factor: (p,) s(q), which multiplies e^{plane(q)} in Z.

    """

    index: torch.Tensor
    value: torch.Tensor
    factor: torch.Tensor

    @classmethod
    def of(cls, queries: torch.Tensor, planes: Planes) -> "_HighestPlanes":
        value, index = torch.addmm(planes.offsets, queries, planes.slopes.T).max(1)
        factor = planes.errors[index] - (queries * planes.error_slopes[index]).sum(1)
        return cls(index, value, factor)

    @property
    def value_is_safe(self) -> bool:
        """Whether no shift is needed before the exponential."""
        return float(self.value.max()) <= HIGHEST_PLANE

    def gradient(self, planes: Planes) -> torch.Tensor:
        """(p, d) of e^{plane(q)} s(q) by the queries, over e^{plane(q)}."""
        return planes.slopes[self.index] * self.factor[:, None] - planes.error_slopes[self.index]


def _exponentiate(
    queries: torch.Tensor,
    rows: torch.Tensor,
    log_weight: torch.Tensor | None,
    shift: torch.Tensor | None,
    blocks: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill ``blocks`` with E, less ``shift`` (p,) in the exponent; returns Z (p,) and E W (p, d)."""
    total = torch.zeros(len(queries), device=queries.device)
    weighted = torch.zeros_like(queries)
    start = 0
    for block in blocks:
        part = slice(start, start + block.shape[1])
        _logits(queries, rows, log_weight, part, block)
        if shift is not None:
            block.sub_(shift[:, None])
        total += block.exp_().sum(1)
        weighted.addmm_(block, rows[part])
        start = part.stop
    return total, weighted


def _largest_logits(
    queries: torch.Tensor,
    rows: torch.Tensor,
    log_weight: torch.Tensor | None,
    blocks: list[torch.Tensor],
) -> torch.Tensor:
    """The largest logit of each query, (p,)."""
    largest = torch.full((len(queries),), -torch.inf, device=queries.device)
    start = 0
    for block in blocks:
        part = slice(start, start + block.shape[1])
        _logits(queries, rows, log_weight, part, block)
        torch.maximum(largest, block.amax(1), out=largest)
        start = part.stop
    return largest


def _logits(
    queries: torch.Tensor,
    rows: torch.Tensor,
    log_weight: torch.Tensor | None,
    part: slice,
    out: torch.Tensor,
) -> None:
    if log_weight is None:
        torch.mm(queries, rows[part].T, out=out)
    else:
        torch.addmm(log_weight[part], queries, rows[part].T, out=out)
