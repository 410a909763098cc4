"""The model on clients that were never trained on, with the softmax over all rows."""

from collections.abc import Sequence

import numpy as np
import torch

from hashfed.config import Config
from hashfed.errors import HashfedError
from hashfed.federated.divergence import DivergedError, check_metrics, diverged
from hashfed.models import Model, Parameters
from hashfed.models.protocol import as_named
from hashfed.randomness import stream
from hashfed.tasks.federated_data import Client, SomeExamples, StoredExamples, all_examples
from hashfed.tasks.metrics import Metrics, Sums, add_sums

BATCH = 32
"""Examples of one forward pass of the body."""
LOGITS = 1 << 22
"""Logits over all rows held at a time (16 MiB), but at least those of one prediction."""
CHUNK = 256
"""Examples per unit of work; sums are added in order of the chunks."""


class NotEvaluatedError(HashfedError):
    """Nobody evaluated the model: its metrics of this round are missing, and nothing else is wrong."""


def held_out_examples(clients: Sequence[Client], most: int | None, seed: int) -> SomeExamples:
    """All examples of the clients, or a fixed random sample of ``most``, those with most predictions first.

    Sorting keeps a batch's examples alike; it changes no sum's meaning.
    """
    examples = all_examples(clients)
    if most is not None and most < len(examples):
        index = np.sort(stream(seed, "evaluation").choice(len(examples), most, replace=False))
        examples = examples.take(index)
    if isinstance(examples, StoredExamples):
        return examples.most_first()
    return examples.take(np.argsort(-examples.weights, kind="stable"))


def evaluate_examples(model: Model, parameters: Parameters, metrics: Metrics, examples: SomeExamples) -> Sums:
    """Sums over examples, chunk by chunk."""
    return add_sums(
        evaluate_chunk(model, parameters, metrics, examples, chunk) for chunk in range(chunks(examples))
    )


def evaluate_chunk(
    model: Model, parameters: Parameters, metrics: Metrics, examples: SomeExamples, chunk: int
) -> Sums:
    """Sums over the examples of one chunk."""
    rows, found = parameters.rows, list[Sums]()
    everything = as_named(model, dict.fromkeys(parameters.tables))
    tables = as_named(model, parameters.tables)
    end = min(len(examples), (chunk + 1) * CHUNK)
    with torch.no_grad():
        for start in range(chunk * CHUNK, end, BATCH):
            part = examples.take(np.arange(start, min(start + BATCH, end)))
            batch = part.bind(everything, rows.device).batch(torch.arange(len(part), device=rows.device))
            queries = model.queries(parameters.body, tables, model.pack(batch))
            most = max(1, LOGITS // len(rows))
            for some, targets in zip(queries.split(most), batch.targets.split(most), strict=True):
                found.append(metrics.sums(some @ rows.T, targets))
    return add_sums(found)


def finish_evaluation(metrics: Metrics, sums: Sums, round: int, config: Config) -> dict[str, float]:
    """The metrics of the model after ``round`` rounds.

    Raises:
        DivergedError: where one is not finite.

    """
    found = metrics.metrics(sums)
    try:
        check_metrics(found)
    except DivergedError as error:
        raise diverged(round, error, config.client, config.server) from None
    return found


def chunks(examples: SomeExamples) -> int:
    """Number of chunks."""
    return -(-len(examples) // CHUNK)
