"""What the server computed is checked before anybody uses or keeps it."""

import math
from collections.abc import Mapping

import torch

from hashfed.errors import HashfedError
from hashfed.federated.settings import ClientSettings, ServerSettings
from hashfed.hashing.parts import neighbours

LARGEST_PARAMETER = 1e4
"""No training that learns comes near, and products of such numbers fit in a float32."""
CHUNK = 1 << 20
"""Numbers looked at together."""


class DivergedError(HashfedError):
    """The model is of no use any more; what was saved before is."""


def check_parameters(named: Mapping[str, torch.Tensor]) -> None:
    """Refuse parameters, by name, that no training leads to.

    The moments need no look of their own: changes are bounded (``messages.LARGEST_CHANGE``), so their squares
    and sums are finite, and a moment that is not makes its parameter NaN or infinite.

    Raises:
        DivergedError: where one is NaN or its magnitude above ``LARGEST_PARAMETER``.

    """
    parts = [
        (name, part) for name, value in named.items() for part in value.flatten().split(CHUNK) if len(part)
    ]
    # Small ones are looked at as one, unless one of them is found to be wrong.
    together = [
        torch.cat([part for _, part in parts[start:stop]]) if stop - start > 1 else parts[start][1]
        for start, stop in neighbours([len(part) for _, part in parts], CHUNK)
    ]
    bounds = _bounds(together)
    if all(-LARGEST_PARAMETER <= least <= most <= LARGEST_PARAMETER for least, most in bounds):
        return
    for (name, _), (least, most) in zip(parts, _bounds([part for _, part in parts]), strict=True):
        if not -LARGEST_PARAMETER <= least <= most <= LARGEST_PARAMETER:
            found = "not finite"
            if math.isfinite(least) and math.isfinite(most):
                found = f"{most if most > -least else least:g}, not within ±{LARGEST_PARAMETER:g}"
            raise DivergedError(f"a parameter of {name} is {found}")


def _bounds(parts: list[torch.Tensor]) -> list[tuple[float, float]]:
    """The least and the most of each, NaN where any number is: a device is waited for once."""
    if not parts:
        return []
    return [
        (least, most)
        for least, most in torch.stack([torch.stack(torch.aminmax(part)) for part in parts]).tolist()
    ]


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Refuse metrics of a model that gives no probabilities.

    Raises:
        DivergedError: where one is not finite.

    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} on the held-out clients is {value:g}")


def diverged(round: int, found: Exception, client: ClientSettings, server: ServerSettings) -> DivergedError:
    """``found``, with the round and the settings that a person may change."""
    remedies = f"lower server.learning_rate ({server.learning_rate:g}) or client.learning_rate "
    remedies += f"({client.learning_rate:g})"
    if server.optimizer not in ("fedavg", "fedavgm"):
        remedies += f", or raise server.epsilon ({server.epsilon:g})"
    return DivergedError(f"round {round}: {found}: the training diverged; {remedies}")
