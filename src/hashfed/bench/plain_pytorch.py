"""The peer: a client's training of the full layer as anyone would write it with autograd and torch.optim."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from hashfed.federated.settings import ClientSettings
from hashfed.models import Model, Parameters
from hashfed.models.batch import Targets
from hashfed.models.losses import LOSSES, OutputLoss
from hashfed.models.protocol import OUTPUT, as_named
from hashfed.tasks.examples import Examples


def train_plainly(
    model: Model,
    parameters: Parameters,
    examples: Examples,
    settings: ClientSettings,
    rng: np.random.Generator,
    loss: OutputLoss = LOSSES["softmax"],
) -> float:
    """Epochs of SGD on a copy of ``parameters``, in the order that ``federated.client.train`` takes.

    Args:
        model: its functions.
        parameters: on the device that trains.
        examples: of the client.
        settings: of the training; there is no clipping.
        rng: of the order.
        loss: what is computed instead is torch's loss of the same name (``LOSSES``).

    Returns:
        The mean loss over the steps, weighted by predictions, nats.

    """
    formula = next(PLAIN_LOSSES[name] for name, known in LOSSES.items() if known is loss)
    tables = {name: value.clone().requires_grad_() for name, value in parameters.tables.items()}
    body = {name: value.clone().requires_grad_() for name, value in parameters.body.items()}
    rows = tables[OUTPUT]
    optimizer = torch.optim.SGD([*tables.values(), *body.values()], lr=settings.learning_rate)
    bound = examples.bind(as_named(model, dict.fromkeys(model.tables)), rows.device)
    total = 0.0
    for _ in range(settings.epochs):
        for batch in torch.from_numpy(rng.permutation(len(examples))).split(settings.batch_size):
            asked = bound.batch(batch)
            queries = model.queries(body, as_named(model, tables), model.pack(asked))
            value = formula(functional.linear(queries, rows), asked.targets)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item() * len(asked.targets)
    return total / (examples.weight * settings.epochs)


def _softmax(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    if targets.counts is None:
        return functional.cross_entropy(logits, targets.rows)
    share = (1 / targets.counts.float())[targets.owners]
    wanted = torch.zeros_like(logits).index_put_((targets.owners, targets.rows), share)
    return functional.cross_entropy(logits, wanted)


def _binary(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    one = torch.ones((), device=logits.device)
    wanted = torch.zeros_like(logits).index_put_((targets.owners, targets.rows), one)
    total = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return total / len(targets)


PLAIN_LOSSES: dict[str, Callable[[torch.Tensor, Targets], torch.Tensor]] = {
    "softmax": _softmax,
    "binary": _binary,
}
"""Those of ``LOSSES``, as one writes them."""
