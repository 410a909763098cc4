"""The next item learned in one place: plain PyTorch and Adam on all training clients' examples.

The model, the examples and the metrics are hashfed's; the loop, its loss (``cross_entropy``) and its
gradients (autograd) are not. It stops where NDCG on validation has not grown for ``--patience`` epochs, and
prints the test of the best epoch: what federated runs of the same configuration are held against.

    python -m benchmarks.central_items beauty.yaml
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from hashfed.config import Config, load_config
from hashfed.engines.budget import build_model
from hashfed.engines.evaluation import chunks, evaluate_chunk, held_out_examples
from hashfed.models import Model, Parameters
from hashfed.models.noise import generator
from hashfed.models.protocol import as_named
from hashfed.randomness import stream
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.metrics import add_sums
from hashfed.tasks.registry import make_task
from hashfed.tasks.sequences import Sequences


def main(words: Sequence[str] | None = None) -> None:
    """Train, print a line of JSON for each epoch and one for the test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "config", type=Path, help="of a run with data.task: next-item, of which data, model and seed count"
    )
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128, help="users")
    parser.add_argument("--rate", type=float, default=1e-3, help="of Adam")
    parser.add_argument("--patience", type=int, default=10, help="epochs")
    parser.add_argument("--sample", type=int, help="evaluate on so many validation users")
    arguments = parser.parse_args(words)
    config = load_config(arguments.config)
    task, model = make_task(config.data), build_model(config)
    validation = task.load("validation")
    parameters = model.init(validation.sizes, stream(config.seed, "init"))
    best, kept, since = -1.0, parameters.clone(), 0
    ndcg = task.presentation.main[-1].key
    for epoch, loss in enumerate(
        epochs(config, model, parameters, validation.train, arguments.batch, arguments.rate), start=1
    ):
        found = evaluated(config, model, parameters, validation, arguments.sample)
        print(json.dumps({"epoch": epoch, "loss": loss, "validation": found}), flush=True)
        since += 1
        if found[ndcg] > best:
            with torch.no_grad():
                best, kept, since = found[ndcg], parameters.clone(), 0
        if epoch == arguments.epochs or since == arguments.patience:
            break
    print(json.dumps({"test": evaluated(config, model, kept, task.load("test"), None)}))


def epochs(
    config: Config, model: Model, parameters: Parameters, clients: Sequence[Client], batch: int, rate: float
) -> Iterator[float]:
    """Train ``parameters`` in place without an end; yields each epoch's mean loss, nats per prediction."""
    examples = padded(clients)
    bound = examples.bind(as_named(model, dict.fromkeys(model.tables)), parameters.rows.device)
    leaves = [value.requires_grad_() for value in parameters.named().values()]
    optimizer = torch.optim.Adam(leaves, lr=rate)
    rng, noise = stream(config.seed, "central"), generator(stream(config.seed, "dropout"))
    while True:
        total = 0.0
        for index in torch.from_numpy(rng.permutation(len(examples))).split(batch):
            some = replace(bound.batch(index), noise=(noise,))
            queries = model.queries(parameters.body, as_named(model, parameters.tables), model.pack(some))
            loss = cross_entropy(queries @ parameters.rows.T, some.targets.rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(some.targets)
        yield total / examples.weight


def padded(clients: Sequence[Client]) -> Sequences:
    """All examples as one, each as long as the longest."""
    columns = [client.examples.columns() for client in clients]
    longest = max(one["inputs"].shape[1] for one in columns)

    def joined(name: str) -> np.ndarray:
        return np.concatenate(
            [np.pad(one[name], ((0, 0), (0, longest - one[name].shape[1]))) for one in columns]
        )

    return Sequences(joined("inputs"), joined("targets"))


def evaluated(
    config: Config, model: Model, parameters: Parameters, data: FederatedData[Any], most: int | None
) -> dict[str, float]:
    """Metrics on the held-out clients."""
    examples, metrics = held_out_examples(data.held_out, most, config.seed), make_task(config.data).metrics
    parts = (evaluate_chunk(model, parameters, metrics, examples, one) for one in range(chunks(examples)))
    return metrics.metrics(add_sums(parts))


if __name__ == "__main__":
    main(sys.argv[1:])
