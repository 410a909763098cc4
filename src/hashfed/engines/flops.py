"""Floating-point operations of a round, of a client and of the server for it, from sizes alone."""

from hashfed.models import Model
from hashfed.retrieval import Encoder

OF_HIGHEST_PLANE = 4
"""Products of length d of a query with its plane alone: the factor, the query's gradient (two) and what moves
the tail."""


def round_flops(
    model: Model,
    encoder: Encoder | None,
    epochs: int,
    predictions: int,
    shape: tuple[int, int],
    received: int,
    trained: int,
    planes: int = 0,
    sketcher: Encoder | None = None,
    points: int = 0,
) -> dict[str, int]:
    """Operations by step (a multiply-add counts two; a backward pass counts as two forward passes).

    Args:
        model: whose ``body_flops`` and ``dimension`` count.
        encoder: of the queries, None where the client sends no keys.
        epochs: passes over the examples.
        predictions: p, positions trained on per epoch.
        shape: (s, T), examples and positions of each.
        received: rows sent to the client.
        trained: rows that it trains on; where fewer, it drops the others by their activations.
        planes: K, planes of the tail that it was sent.
        sketcher: of the queries for the planes alone, None where the client sends no sketch.
        points: of a cohort, to the nearest of which it adds each query of its data: one more pass over these.

    Returns:
        ``hash``, ``drop``, ``train``, ``planes``, their part of training, and ``points``; 0 for a step that
        the client is spared.

    """
    encoders = [one for one in (encoder, sketcher) if one is not None]
    body = model.body_flops(predictions, *shape)
    products = 2 * predictions * model.dimension
    return {
        "hash": body + sum(one.flops(predictions) for one in encoders) if encoders else 0,
        "drop": body + products * received if received > trained else 0,
        "train": 3 * epochs * (body + products * trained),
        "planes": epochs * products * (planes + OF_HIGHEST_PLANE) if planes else 0,
        "points": body + products * points if points else 0,
    }


def server_flops(
    size: int, dimension: int, scored: int | None, planes: int, drawn: int, norms: bool, cohort: int = 1
) -> dict[str, int | None]:
    """Operations of the server for one client, by step, counted as in ``round_flops``.

    Args:
        size: n.
        dimension: d.
        scored: c, vectors against which the index scores all rows; None where its work depends on what it
            holds.
        planes: K, that the client is sent.
        drawn: rows of its selection that may be drawn by chance.
        norms: whether the norm of what the client returns is asked for (``server.clip``).
        cohort: clients for whom planes are made and applied at once: one has a share of that, rounded up.

    Returns:
        ``retrieve``, None where nobody can say; ``planes``, to make them; ``tail``, to move all rows by what
        the client returns for them. Indexes are built for all clients at once, and not counted.

    """
    product = 2 * planes * dimension
    return {
        "retrieve": None if scored is None else 2 * size * scored * (dimension + 1),
        "planes": -(-(2 * product * (size + drawn) + (2 * size * planes**2 if norms else 0)) // cohort),
        "tail": -(-2 * product * size // cohort),
    }
