"""Peer: Google's FedJAX, each client's step compiled by XLA, whose threads use all cores.

One client at a time, by FedJAX's default ``jit`` backend on a JAX as new as FedJAX bears. Its ``pmap``
backend, a client per core, takes a JAX of 2024 (0.4.25) and is slower all the same: 1.74 s a round where
``jit`` takes 1.43 (10,000 words, 32 steps, 2 cores).
"""

import importlib
import math
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from benchmarks.simulation.peers.workload import (
    Workload,
    load_workload,
    norms,
    parse_arguments,
    peak_memory,
    write_result,
)

Tree = Any
"""Of JAX arrays."""


class Model:
    """The transformer as functions of its parameters.

    Args:
        workload: tells the sizes.

    """

    def __init__(self, workload: Workload) -> None:
        self._jax: Any = importlib.import_module("jax")
        self._optax: Any = importlib.import_module("optax")
        self._blocks, self._heads = workload.blocks, workload.heads
        length = workload.inputs.shape[2]
        self._positions = _sinusoids(length, workload.rows.shape[1])
        self._future = np.triu(np.ones((length, length), bool), 1)

    def loss(self, parameters: Tree, batch: Tree) -> Any:
        """Mean cross-entropy over all positions."""
        logits = self._hidden(parameters, batch["x"]) @ parameters["rows"].T
        return self._optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    def _hidden(self, parameters: Tree, inputs: Any) -> Any:
        """(sentences, T, d) after the last norm."""
        rows, body = parameters["rows"], parameters["body"]
        x = rows[inputs] * math.sqrt(rows.shape[1]) + self._positions
        for block in range(self._blocks):
            x = x + self._attention(body, f"blocks.{block}.attention", x)
            name = f"blocks.{block}.ffn"
            hidden = self._jax.nn.relu(_linear(body, f"{name}.in", self._norm(body, f"{name}.norm", x)))
            x = x + _linear(body, f"{name}.out", hidden)
        return self._norm(body, "norm", x)

    def _attention(self, body: Tree, name: str, x: Any) -> Any:
        jnp = self._jax.numpy
        sentences, length, _ = x.shape
        qkv = _linear(body, f"{name}.qkv", self._norm(body, f"{name}.norm", x))
        q, k, v = jnp.moveaxis(qkv.reshape(sentences, length, 3, self._heads, -1), 2, 0)
        scores = jnp.einsum("sqhw,skhw->shqk", q, k) / math.sqrt(q.shape[-1])
        weights = self._jax.nn.softmax(jnp.where(self._future, -jnp.inf, scores))
        mixed = jnp.einsum("shqk,skhw->sqhw", weights, v)
        return _linear(body, f"{name}.out", mixed.reshape(sentences, length, -1))

    def _norm(self, body: Tree, name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scale = self._jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
        return centred * scale * body[f"{name}.weight"] + body[f"{name}.bias"]


def _linear(body: Tree, name: str, x: Any) -> Any:
    return x @ body[f"{name}.weight"].T + body[f"{name}.bias"]


def _sinusoids(length: int, width: int) -> np.ndarray:
    """Sine and cosine positions (length, width)."""
    half = (width + 1) // 2
    frequency = np.exp(-math.log(10000.0) / half * np.arange(half, dtype=np.float32))
    angle = np.arange(length, dtype=np.float32)[:, None] * frequency
    return np.concatenate([np.sin(angle), np.cos(angle)], 1)[:, :width].astype(np.float32)


def _changes(trained: Iterable[tuple[int, Tree, list[Any]]], first: list[Any]) -> Iterator[Tree]:
    """Each client's change, as soon as it is there; ``first`` takes the losses of the first client."""
    for number, change, losses in trained:
        if number == 0:
            first.extend(losses)
        yield change


def main() -> None:
    """Play the rounds and print the result."""
    arguments = parse_arguments()
    # Before JAX starts.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["NPROC"] = str(arguments.workers)  # threads of XLA
    jax: Any = importlib.import_module("jax")
    fedjax: Any = importlib.import_module("fedjax")
    workload = load_workload(arguments.path)
    model = Model(workload)
    optimizer = fedjax.optimizers.sgd(workload.learning_rate)

    def begin(server: Tree, _: Tree) -> Tree:
        return {"parameters": server, "optimizer": optimizer.init(server)}

    def step(state: Tree, batch: Tree) -> tuple[Tree, Any]:
        loss, gradients = jax.value_and_grad(model.loss)(state["parameters"], batch)
        moved, parameters = optimizer.apply(gradients, state["optimizer"], state["parameters"])
        return {"parameters": parameters, "optimizer": moved}, loss

    def end(server: Tree, state: Tree) -> Tree:
        return jax.tree_util.tree_map(lambda after, before: after - before, state["parameters"], server)

    def move(server: Tree, change: Tree) -> Tree:
        return jax.tree_util.tree_map(lambda value, total: value + total / workload.clients, server, change)

    jit_move = jax.jit(move)
    with fedjax.for_each_client_backend("jit"):
        train = fedjax.for_each_client(begin, step, end, with_step_result=True)
    # In order; where the last batch is smaller, a second program is compiled in the first round.
    clients = [
        (number, fedjax.ClientDataset({"x": inputs, "y": targets}).batch(batch_size=workload.batch_size), ())
        for number, (inputs, targets) in enumerate(zip(workload.inputs, workload.targets, strict=True))
    ]
    server = jax.tree_util.tree_map(jax.numpy.asarray, {"rows": workload.rows, "body": workload.body})
    losses: list[float] = []
    round_seconds: list[float] = []
    norm_after: dict[str, float] = {}
    for index in range(arguments.rounds):
        start = time.perf_counter()
        first: list[Any] = []
        total = fedjax.tree_util.tree_sum(_changes(train(server, clients), first))
        server = jax.block_until_ready(jit_move(server, total))
        round_seconds.append(time.perf_counter() - start)
        if index == 0:
            losses = [float(loss) for loss in first]
            norm_after = norms(np.asarray(server["rows"]), map(np.asarray, server["body"].values()))
    write_result("fedjax_library", "fedjax", workload, losses, round_seconds, norm_after, peak_memory())


if __name__ == "__main__":
    main()
