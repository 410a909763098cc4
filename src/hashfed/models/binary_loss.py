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

import torch
from torch.nn import functional

from hashfed.models.batch import Targets
from hashfed.models.output_layer import MAX_LOGITS, OutputGradients, WorkSpace
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
    count, most = len(queries), max(1, MAX_LOGITS // len(rows))
    with torch.no_grad():
        if count <= most:
            chunk = _Chunk.of(queries, rows, log_weight, targets, count, space)
            return OutputGradients(chunk.loss, chunk.queries_gradient, None, 0, chunk)
        loss, by_queries, by_rows = torch.zeros(()), torch.empty_like(queries), torch.zeros_like(rows)
        start = 0
        for some in targets.split(most):
            part = slice(start, start + len(some))
            start = part.stop
            chunk = _Chunk.of(queries[part], rows, log_weight, some, count, space)
            loss = loss + chunk.loss
            by_queries[part] = chunk.queries_gradient
            chunk.add_to(by_rows, 1.0)
        return OutputGradients(loss, by_queries, None, 0, by_rows)


@dataclass(frozen=True)
class _Chunk:
    """Some queries of a batch of ``count``, with the chances σ of their rows.

    Attributes:
        loss: () their share of the batch's mean loss.
        queries_gradient: (p, d).
        scaled: (p, d) queries over ``count``.
        targets: whose rows are pulled.
        chances: blocks (p, k) of σ.

    """

    loss: torch.Tensor
    queries_gradient: torch.Tensor
    scaled: torch.Tensor
    targets: Targets
    chances: list[torch.Tensor]

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
