"""The peer: a client's training of the full layer as anyone would write it with autograd and torch.optim."""

import numpy as np
import torch
from torch.nn import functional

from hashfed.federated.settings import ClientSettings
from hashfed.models import Model, Parameters
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.examples import Examples


def train_plainly(
    model: Model,
    parameters: Parameters,
    examples: Examples,
    settings: ClientSettings,
    rng: np.random.Generator,
) -> float:
    """One epoch of SGD on a copy of ``parameters``, in the order that ``federated.client.train`` takes.

    Returns:
        The mean cross-entropy over the steps, weighted by predictions, nats.

    """
    rows = parameters.rows.clone().requires_grad_()
    body = {name: value.clone().requires_grad_() for name, value in parameters.body.items()}
    optimizer = torch.optim.SGD([rows, *body.values()], lr=settings.learning_rate)
    bound = examples.bind({OUTPUT: None, INPUT: None}, rows.device)
    total = 0.0
    for batch in torch.from_numpy(rng.permutation(len(examples))).split(settings.batch_size):
        asked = bound.batch(batch)
        labels = asked.targets.rows
        queries = model.queries(body, {INPUT: rows}, model.pack(asked))
        loss = functional.cross_entropy(functional.linear(queries, rows), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / examples.weight
