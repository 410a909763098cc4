"""Models that work on a selection of rows, and their loss."""

from hashfed.models.loss import PredictionSums, evaluate_logits, selected_loss
from hashfed.models.protocol import Model, Parameters
from hashfed.models.registry import MODELS, make_model
from hashfed.models.transformer import Transformer

__all__ = [
    "MODELS",
    "Model",
    "Parameters",
    "PredictionSums",
    "Transformer",
    "evaluate_logits",
    "make_model",
    "selected_loss",
]
