"""Peak memory of a server over a network behind a slow first client, by the size of the cohort; prints JSON.

The server is the real one; the nodes, one for each client, are a few lines that answer with updates of the
right shape. Their messages lie on disk until the server pulls them, as they lie in the SuperLink. The first
client of the cohort answers after all others, so all their updates wait. Each cohort in a fresh process.

    python -m benchmarks.network_memory --cohorts 16 200
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from hashfed.bench.synthetic import synthetic_text
from hashfed.config import Config, make_config
from hashfed.engines.allocator import return_memory
from hashfed.engines.device_memory import resident_peak
from hashfed.engines.flower import records
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.network.exchanges import JOIN, type_of
from hashfed.engines.network.parcel import Parcel
from hashfed.federated.messages import Declare, SelectedRows, Update, Welcome
from hashfed.models.protocol import OUTPUT
from hashfed.tasks.registry import make_task

OWN = 300
"""Rows that each client declares."""


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cohorts", type=int, nargs="+", default=[16, 200])
    parser.add_argument("--words", type=int, default=80_000)
    parser.add_argument("--method", default="frequency", choices=["frequency", "random", "full"])
    arguments = parser.parse_args()
    found = []
    for cohort in arguments.cohorts:
        print(f"cohort {cohort}", file=sys.stderr)
        task = {"cohort": cohort, "words": arguments.words, "method": arguments.method}
        command = [sys.executable, __file__, json.dumps(task)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found.append({"cohort": cohort} | json.loads(done.stdout))
    json.dump(
        {"words": arguments.words, "method": arguments.method, "processes": found}, sys.stdout, indent=1
    )


def server(cohort: int, words: int, method: str, folder: Path) -> dict[str, int]:
    """One round of a server in this process."""
    return_memory()
    torch.set_num_threads(1)
    tree = {
        "data": {"vocabulary": words},
        "retrieval": {"method": method},
        "server": {"optimizer": "fedavg"},
        "cohort": cohort,
        "rounds": 1,
        "output": str(folder / "run"),
        "flower": {"clients": cohort, "deadline": 3600},
    }
    config = make_config(tree)
    data = synthetic_text(words, 2, 2, 5)
    with FlowerRounds(DiskGrid(config, folder / "messages"), config, data) as engine:
        engine._wait_for_clients(cohort)
        ready = resident_peak()
        record = engine.run_round()
        assert record.failed == {}
    return {"ready": ready, "peak": resident_peak()}


class DiskGrid(Grid):
    """Nodes with a client each, whose answers are files until they are pulled."""

    def __init__(self, config: Config, folder: Path) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self._config, self._folder, self._sent = config, folder, 0
        self._late = ""
        self._outstanding = 0
        folder.mkdir()

    def get_node_ids(self) -> Iterable[int]:
        """As many as the cohort."""
        return range(1, self._config.cohort + 1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Answer, and keep the answer on disk."""
        found = []
        for message in messages:
            self._sent += 1
            name = message.metadata.__dict__["_message_id"] = str(self._sent)
            node, kind = message.metadata.dst_node_id, message.metadata.message_type
            if kind == type_of("train"):
                self._outstanding += 1
                self._late = name if node == 1 else self._late
            reply = Message(answer(message, self._config), reply_to=message)
            (self._folder / name).write_bytes(message_to_proto(reply).SerializeToString())
            found.append(name)
        return found

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Read it; that of the first client only when no other is left."""
        (name,) = message_ids
        if name == self._late and self._outstanding > 1:
            return []
        path = self._folder / name
        reply = message_from_proto(MessageProto.FromString(path.read_bytes()))
        path.unlink()
        self._outstanding -= reply.metadata.message_type == type_of("train")
        return [reply]

    def set_run(self, *_: object) -> None:
        """Nothing."""

    @property
    def run(self) -> None:  # type: ignore[override]
        """None."""

    def create_message(self, *_: object, **__: object) -> Message:
        """Nobody asks."""
        raise NotImplementedError

    def get_nodes(self) -> Iterable[object]:  # type: ignore[override]
        """Nobody asks."""
        raise NotImplementedError

    def send_and_receive(self, *_: object, **__: object) -> Iterable[Message]:
        """Nobody asks."""
        raise NotImplementedError


def answer(message: Message, config: Config) -> RecordDict:
    """What a node says: its client's name, its declaration, or an update of the rows that it was sent."""
    node, kind = message.metadata.dst_node_id, message.metadata.message_type
    name, size = f"client {node:06}", make_task(config.data).sizes[OUTPUT]
    if kind == JOIN:
        return RecordDict({"names": ConfigRecord({"train": [name], "held_out": []})})
    own = np.sort(np.random.default_rng(node).choice(size, OWN, replace=False)).astype(np.int32)
    received = records.unpack(message.content).messages.get(name, {})
    parcel = Parcel(1)
    if kind != type_of("train"):
        parcel.add(name, Declare(1, own, size))
        return records.pack(parcel)
    welcome, selected = received[Welcome.kind], received[SelectedRows.kind]
    assert isinstance(welcome, Welcome)
    assert isinstance(selected, SelectedRows)
    ids = None if selected.ids is None else np.sort(np.concatenate([own, selected.ids]))
    count = size if ids is None else len(ids)
    rows = torch.full((count, config.model.dimension), 1e-3)
    body = {name: torch.zeros_like(value) for name, value in welcome.body.items()}
    parcel.add(name, Update(1, 10, 1.0, body, ids, rows))
    parcel.reports[name] = {
        "own": float(OWN),
        "rows": float(count),
        "parameters": 0.0,
        "predictions": 10.0,
        "flops": 0.0,
        "train_seconds": 0.0,
    }
    return records.pack(parcel)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
            print(json.dumps(server(**json.loads(sys.argv[1]), folder=Path(place))))
    else:
        main()
