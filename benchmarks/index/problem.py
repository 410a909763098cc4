"""What an index is asked to do: the rows of an output layer, and clients with queries."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hashfed.engines.budget import build_model
from hashfed.errors import HashfedError
from hashfed.federated.client import own_rows
from hashfed.models import Model, Parameters
from hashfed.models.protocol import INPUT, OUTPUT, as_named
from hashfed.randomness import stream
from hashfed.runs.contents import REMEDY
from hashfed.runs.folder import RunFolder
from hashfed.runs.train import load_data
from hashfed.tasks.examples import Examples
from hashfed.tasks.facts import digest

LEAST_SENTENCES = 8
"""Clients with fewer tell little about coverage."""
TOPICS_OF_A_CLIENT, QUERIES_OF_A_CLIENT = 8, 128
"""Of the synthetic problem."""


@dataclass(frozen=True)
class ClientQueries:
    """One client's part.

    Attributes:
        queries: (q, d) float32.
        own: (o,) int64 ascending ids of the rows its data needs.

    """

    queries: torch.Tensor
    own: np.ndarray


@dataclass(frozen=True)
class Problem:
    """An output layer and clients that ask for rows of it.

    Attributes:
        name: for tables.
        rows: (n, d) float32.
        prior: (n,) public counts of how often each row is a label.
        clients: who ask.

    """

    name: str
    rows: torch.Tensor
    prior: np.ndarray
    clients: list[ClientQueries]


def run_problem(path: Path, clients: int, seed: int) -> Problem:
    """The rows of a trained run, and the queries of held-out clients drawn by ``seed``.

    A client draws as many sentences as in a round of training; its queries come from the whole model.

    Raises:
        HashfedError: where the folder is no run with a checkpoint, has too few held-out clients, or its
            data have changed.

    """
    run = RunFolder(path)
    config = run.config()
    parameters = run.parameters()
    data = load_data(config)
    facts = run.read_json("data.json")
    if facts is not None and facts.get("sha256") is None:
        raise HashfedError(f"{path / 'data.json'}: has no sha256; {REMEDY}")
    if facts is not None and facts["sha256"] != digest(data):
        raise HashfedError(f"{path}: the texts of {config.data.source} have changed since this run")
    model = build_model(config)
    able = [client for client in data.held_out if len(client.examples) >= LEAST_SENTENCES]
    if len(able) < clients:
        raise HashfedError(
            f"--clients = {clients}: {path} has only {len(able)} held-out clients "
            f"with at least {LEAST_SENTENCES} sentences"
        )
    rng = stream(seed, "bench clients")
    found = []
    for position in rng.choice(len(able), clients, replace=False):
        sentences = able[position].examples
        count = min(len(sentences), config.client.examples)
        drawn = sentences.take(np.sort(rng.choice(len(sentences), count, replace=False)))
        found.append(client_queries(model, parameters, drawn))
    return Problem(path.name, parameters.rows, data.label_counts, found)


def client_queries(model: Model, parameters: Parameters, examples: Examples) -> ClientQueries:
    """What a client with these examples asks, under the whole model."""
    batch = examples.bind({OUTPUT: None, INPUT: None}, torch.device("cpu")).batch(torch.arange(len(examples)))
    with torch.no_grad():
        queries = model.queries(parameters.body, as_named(model, parameters.tables), model.pack(batch))
    return ClientQueries(queries, own_rows(model, examples))


def synthetic_problem(rows: int, dimension: int, clients: int, seed: int) -> Problem:
    """Rows around topics, Zipf-distributed labels, and clients with a few topics each; nothing is trained.

    Row i is its topic's centre plus noise, and its last coordinate is the log of its frequency; a query is
    likewise a topic's centre plus noise, and its last coordinate is 1. So p(i | q) is the frequency times a
    factor that depends on how near query and row are, as in a trained layer. Topic, noise and frequency
    are independent of a row's number.
    """
    rng = stream(seed, "synthetic")
    topics, width = max(8, round(rows**0.5)), dimension - 1
    centres = rng.standard_normal((topics, width), dtype=np.float32)
    frequency = 1.0 / (1.0 + rng.permutation(rows))
    table = np.empty((rows, dimension), np.float32)
    table[:, :width] = centres[rng.integers(topics, size=rows)]
    table[:, :width] += rng.standard_normal((rows, width), dtype=np.float32)
    table[:, width] = np.log(frequency)
    found = []
    for _ in range(clients):
        liked = rng.choice(topics, TOPICS_OF_A_CLIENT, replace=False)
        queries = np.ones((QUERIES_OF_A_CLIENT, dimension), np.float32)
        near = centres[rng.choice(liked, QUERIES_OF_A_CLIENT)]
        noise = rng.standard_normal((QUERIES_OF_A_CLIENT, width), dtype=np.float32)
        # Logits from topic and noise have a standard deviation of about 2.5.
        queries[:, :width] = (near + noise) * np.float32(2.5 / (4 * width) ** 0.5)
        found.append(ClientQueries(torch.from_numpy(queries), _draw_labels(table, queries, rng)))
    return Problem(f"synthetic {rows:,} × {dimension}", torch.from_numpy(table), 1e9 * frequency, found)


def _draw_labels(table: np.ndarray, queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A label for each query from its softmax; the distinct ones, ascending int64."""
    labels = set()
    for query in queries:
        logits = table @ query
        cumulated = np.cumsum(np.exp(logits - logits.max(), dtype=np.float64))
        labels.add(int(np.searchsorted(cumulated, rng.random() * cumulated[-1])))
    return np.array(sorted(labels), np.int64)
