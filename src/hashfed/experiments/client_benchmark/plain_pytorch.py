"""The peer: a client's training of the full layer as anyone would write it with autograd and torch.optim."""

import numpy as np
import torch
from torch.nn import functional

from hashfed.federated.settings import ClientSettings
from hashfed.models import Model, Parameters
from hashfed.tasks.next_word.vocabulary import PAD
from hashfed.tasks.sequences import Sequences


def train_plainly(
    model: Model,
    parameters: Parameters,
    sentences: Sequences,
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
    inputs, targets = torch.from_numpy(sentences.inputs).long(), torch.from_numpy(sentences.targets).long()
    predicted = targets != PAD
    total = 0.0
    for batch in torch.from_numpy(rng.permutation(len(sentences))).split(settings.batch_size):
        labels = targets[batch][predicted[batch]]
        queries = model.queries(body, rows, inputs[batch], predicted[batch])
        loss = functional.cross_entropy(functional.linear(queries, rows), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / sentences.weight
