"""One-vs-rest logistic loss of the output layer and its gradients, without autograd.

For queries Q (p, d), rows W (m, d), sets of targets T and weights w = e^{log_weight}, w = 1 for rows that are
held for sure (targets are):

    loss    = mean_p (Σ_i w_i softplus(q_p·w_i) − Σ_{t ∈ T_p} q_p·w_t)
    ∂loss/∂Q = (Σ_i w_i σ(q·w_i) W_i − Σ_t W_t) / p
    ∂loss/∂W = σᵀ Q / p, less q/p at the row of each target

A drawn row is a negative that stands for the 1/π that it was drawn from, so the sum over negatives is
unbiased (of t negatives drawn uniformly beside the own rows A, each has the weight (n − |A|)/t). As with the
softmax, it is moved by its own gradient while the client trains, and its change is multiplied afterwards
(``federated.client.train``).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from hashfed.models.batch import Targets
from hashfed.models.output_layer import OutputGradients, WorkSpace, in_chunks
from hashfed.retrieval.planes import Planes


def binary_gradients(
    queries: torch.Tensor,
    rows: torch.Tensor,
    log_weight: torch.Tensor | None,
    targets: Targets,
    space: WorkSpace,
    planes: Planes | None = None,
) -> OutputGradients:
    """Loss and gradients of the mean over queries, over the rows at hand.

    Args:
        queries: (p, d) float32, p ≥ 1, without gradient.
        rows: (m, d) float32.
        log_weight: (m,) of what each row stands for, or None for itself alone.
        targets: sets of positions in ``rows``.
        space: memory to work in; the result refers to it.
        planes: must be None: they are of a softmax's partition function.

    Raises:
        ValueError: where there are planes.

    """
    if planes is not None:
        raise ValueError("planes are of a softmax")

    def chunk(queries: torch.Tensor, targets: Targets, count: int) -> _Chunk:
        return _Chunk.of(queries, rows, log_weight, targets, count, space)

    return in_chunks(queries, rows, targets, chunk)


@dataclass(frozen=True)
class _Chunk:
    """Some queries of a batch of ``count``, with the chances σ of their rows.

    Attributes:
        loss: () their share of the batch's mean loss.
        queries_gradient: (p, d).
        scaled: (p, d) queries over ``count``.
        targets: whose rows are pulled.
        chances: blocks (p, k) of σ.
        tail: None: there are no planes.
        bounded: 0: nor a partition function.

    """

    loss: torch.Tensor
    queries_gradient: torch.Tensor
    scaled: torch.Tensor
    targets: Targets
    chances: list[torch.Tensor]
    tail: ClassVar[torch.Tensor | None] = None
    bounded: ClassVar[int] = 0

    @classmethod
    def of(
        cls,
        queries: torch.Tensor,
        rows: torch.Tensor,
        log_weight: torch.Tensor | None,
        targets: Targets,
        count: int,
        space: WorkSpace,
    ) -> "_Chunk":
        blocks = space.take(len(queries), len(rows), queries)
        loss = torch.zeros((), device=queries.device)
        gradient = torch.zeros_like(queries)
        start = 0
        for block in blocks:
            part = slice(start, start + block.shape[1])
            start = part.stop
            torch.mm(queries, rows[part].T, out=block)
            held = rows[part]
            if log_weight is None:
                loss += functional.softplus(block).sum()
            else:
                weight = log_weight[part].exp()
                loss += functional.softplus(block).sum(0) @ weight
                held = held * weight[:, None]
            gradient.addmm_(block.sigmoid_(), held)
        target_rows, owners = rows[targets.rows], targets.owners
        loss -= (queries[owners] * target_rows).sum()
        gradient.index_add_(0, owners, target_rows, alpha=-1.0)
        return cls(loss / count, gradient.div_(count), queries / count, targets, blocks)

    def add_to(self, table: torch.Tensor, scale: float) -> None:
        """See ``OutputGradients``."""
        start = 0
        for block in self.chances:
            end = start + block.shape[1]
            table[start:end].addmm_(block.T, self.scaled, alpha=scale)
            start = end
        table.index_add_(0, self.targets.rows, self.scaled[self.targets.owners], alpha=-scale)
