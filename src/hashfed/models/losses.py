"""Losses of the output layer by name: a new loss adds its file and one line here."""

from typing import Protocol

import torch

from hashfed.models.batch import Targets
from hashfed.models.binary_loss import binary_gradients
from hashfed.models.output_layer import OutputGradients, WorkSpace, output_gradients
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


LOSSES: dict[str, Loss] = {"softmax": output_gradients, "binary": binary_gradients}
