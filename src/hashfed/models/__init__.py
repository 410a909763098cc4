"""Models that work on a selection of rows, and their loss."""

from hashfed.models.batch import Batch, Targets
from hashfed.models.output_layer import OutputGradients, WorkSpace, output_gradients
from hashfed.models.protocol import INPUT, OUTPUT, Model, Parameters
from hashfed.models.registry import BY_MODEL, MODELS
from hashfed.models.settings import ModelSettings
from hashfed.models.transformer import Transformer, TransformerSettings

__all__ = [
    "BY_MODEL",
    "INPUT",
    "MODELS",
    "OUTPUT",
    "Batch",
    "Model",
    "ModelSettings",
    "OutputGradients",
    "Parameters",
    "Targets",
    "Transformer",
    "TransformerSettings",
    "WorkSpace",
    "output_gradients",
]
