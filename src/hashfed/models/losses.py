"""Losses of the output layer by name: a new loss adds its file and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from hashfed.models.batch import Targets
from hashfed.models.binary_loss import binary_gradients
from hashfed.models.output_layer import OutputGradients, WorkSpace, output_gradients
from hashfed.models.stacked_losses import StackedLoss, stacked_binary, stacked_softmax
from hashfed.retrieval.planes import Planes


class Loss(Protocol):
    """Loss and gradients of a batch; pure but for the work space."""

    def __call__(
        self,
        queries: torch.Tensor,
        rows: torch.Tensor,
        log_weight: torch.Tensor | None,
        targets: Targets,
        space: WorkSpace,
        planes: Planes | None = None,
    ) -> OutputGradients:
        """See ``output_layer.output_gradients``."""
        ...


@dataclass(frozen=True)
class OutputLoss:
    """A loss, and what it says of itself to those who know no loss.

    Attributes:
        gradients: itself.
        probabilities: of each row to be a target, from logits (..., n) over all rows.
        stacked: the same for several clients at once; None where there is no such function.
        planes_problem: why it takes no planes of the tail; None where it takes them.

    """

    gradients: Loss
    probabilities: Callable[[torch.Tensor], torch.Tensor]
    stacked: StackedLoss | None = None
    planes_problem: str | None = None


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    return torch.softmax(logits, -1)


LOSSES: dict[str, OutputLoss] = {
    "softmax": OutputLoss(output_gradients, _softmax, stacked_softmax),
    "binary": OutputLoss(
        binary_gradients,
        torch.sigmoid,
        stacked_binary,
        planes_problem="is of the partition function of a softmax, and a binary loss has none",
    ),
}
