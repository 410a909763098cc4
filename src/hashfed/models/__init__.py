"""Models that work on a selection of rows, and their loss."""

from hashfed.models.batch import Batch, Targets
from hashfed.models.output_layer import OutputGradients, WorkSpace, output_gradients
from hashfed.models.protocol import INPUT, OUTPUT, Model, Parameters
from hashfed.models.registry import MODELS, make_model
from hashfed.models.transformer import Transformer

__all__ = [
    "INPUT",
    "MODELS",
    "OUTPUT",
    "Batch",
    "Model",
    "OutputGradients",
    "Parameters",
    "Targets",
    "Transformer",
    "WorkSpace",
    "make_model",
    "output_gradients",
]
