"""The peer: FedAdam of the whole model as anyone would write it with Flower 1.41 and PyTorch.

The folder holds ``config.yaml`` and, for each node, ``client<partition-id>.npz`` with its sentences.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam
from torch.nn import functional

from hashfed.config import Config, load_config
from hashfed.engines.budget import build_model
from hashfed.models import Batch, Targets
from hashfed.models.protocol import INPUT
from hashfed.randomness import stream

client = ClientApp()
server = ServerApp()
PAD = 0


def read_config(context: Context) -> tuple[Path, Config]:
    """Where the files are, and what they are for."""
    folder = Path(str(context.run_config["folder"]))
    return folder, load_config(folder / "config.yaml")


@client.train()
def train(message: Message, context: Context) -> Message:
    """One epoch of SGD on the whole model."""
    start = time.perf_counter()
    torch.set_num_threads(1)
    folder, config = read_config(context)
    with np.load(folder / f"client{context.node_config['partition-id']}.npz") as file:
        inputs, targets = (torch.from_numpy(file[name]).long() for name in ("inputs", "targets"))
    model = build_model(config)
    arrays = message.content.array_records["arrays"]
    state = {name: value.requires_grad_() for name, value in arrays.to_torch_state_dict().items()}
    rows, body = state["rows"], {name: value for name, value in state.items() if name != "rows"}
    optimizer = torch.optim.SGD(state.values(), lr=config.client.learning_rate)
    predicted, total = targets != PAD, 0.0
    for batch in torch.randperm(len(inputs)).split(config.client.batch_size):
        labels = targets[batch][predicted[batch]]
        asked = Batch(
            {"inputs": inputs[batch], "predicted": predicted[batch]}, {"inputs": INPUT}, Targets(labels)
        )
        queries = model.queries(body, {INPUT: rows}, model.pack(asked))
        loss = functional.cross_entropy(queries @ rows.T, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    count = int(predicted.sum())
    content = RecordDict()
    content["arrays"] = ArrayRecord({name: value.detach() for name, value in state.items()})
    content["metrics"] = MetricRecord(
        {"num-examples": count, "loss": total / count, "seconds": time.perf_counter() - start}
    )
    return Message(content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Rounds of FedAdam; when each ended is written to ``plain.json``."""
    folder, config = read_config(context)
    size = int(json.loads((folder / "size.json").read_text()))
    parameters = build_model(config).init({"output": size}, stream(config.seed, "init"))
    state = {"rows": parameters.rows, **parameters.body}
    ends: list[float] = []

    def after_round(round: int, arrays: ArrayRecord) -> MetricRecord:
        ends.append(time.time())
        return MetricRecord({"round": round})

    strategy = FedAdam(
        fraction_evaluate=0.0,
        min_train_nodes=config.cohort,
        min_available_nodes=config.cohort,
        eta=config.server.learning_rate,
        tau=config.server.epsilon,
    )
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(state),
        num_rounds=int(context.run_config["rounds"]),
        evaluate_fn=after_round,
    )
    metrics = result.train_metrics_clientapp
    found = {
        "round_seconds": list(np.diff(ends)),
        "client_seconds": [metrics[round]["seconds"] for round in sorted(metrics)],
        "losses": [metrics[round]["loss"] for round in sorted(metrics)],
    }
    (folder / "plain.json").write_text(json.dumps(found))
