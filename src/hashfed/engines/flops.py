"""Floating-point operations of a client's round, from sizes alone."""

from hashfed.models import Model
from hashfed.retrieval import Encoder


def round_flops(
    model: Model,
    encoder: Encoder | None,
    epochs: int,
    predictions: int,
    shape: tuple[int, int],
    received: int,
    trained: int,
) -> dict[str, int]:
    """Operations by step (a multiply-add counts two; a backward pass counts as two forward passes).

    Args:
        model: whose ``body_flops`` and ``dimension`` count.
        encoder: of the queries, None where the client sends no keys.
        epochs: passes over the sentences.
        predictions: p, positions trained on per epoch.
        shape: (s, T), sentences and positions of each.
        received: rows sent to the client.
        trained: rows that it trains on; where fewer, it drops the others by their activations.

    Returns:
        ``hash``, ``drop`` and ``train``; 0 for a step that the client is spared.

    """
    body = model.body_flops(predictions, *shape)
    products = 2 * predictions * model.dimension
    return {
        "hash": 0 if encoder is None else body + encoder.flops(predictions),
        "drop": body + products * received if received > trained else 0,
        "train": 3 * epochs * (body + products * trained),
    }
