"""What a node remembers between messages, in Flower's ``Context``, which never leaves it.

Every message of a deployment is answered by a new process, so the clients' examples are encoded once, when
the node joins, and kept as arrays; and what of a step's messages a later one needs is kept.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict, UserConfig

from hashfed.config import Config, identity, make_config
from hashfed.data.client_texts import Key, full_name
from hashfed.data.part import group, is_train
from hashfed.display import shown
from hashfed.engines.budget import build_model, steps
from hashfed.engines.flower import records
from hashfed.engines.flower.memory import RESIDUAL, Memories
from hashfed.engines.flower.secrets import Secrets, demands
from hashfed.engines.network.parcel import Parcel
from hashfed.errors import HashfedError
from hashfed.federated.checks import ModelShape
from hashfed.federated.messages import Message
from hashfed.federated.protocols import in_lockstep
from hashfed.files import with_home
from hashfed.tasks.federated_data import Client, RowNames
from hashfed.tasks.registry import make_task

KEPT = "kept."
"""Before the names of the records that brought what later steps of a round need."""

ReadClients = Callable[[UserConfig, Config], Sequence[Any]]
"""From the node's own settings and the run's: the clients that this node hosts, as its task takes them
(``Task.encode``)."""


def read_clients(node: UserConfig, config: Config) -> Sequence[Any]:
    """What this node's clients have, as their task reads it.

    Args:
        node: settings of the node (``--node-config``): ``texts``, a folder or file with this node's own
            data, as one client where ``client`` names it; or ``partition-id`` and ``num-partitions``, every
            so manieth client of the data set ``source``. Without it that is the run's, where it has a name;
            which files are read here is this node's choice, not the server's.
        config: of the run.

    Raises:
        HashfedError: where settings are missing or do not fit, or nothing can be read.

    """
    task = make_task(config.data)
    if "texts" in node:
        alone = str(node["client"]) if "client" in node else None
        return task.read(with_home(str(node["texts"])), "node-config: texts", None, alone)
    if "partition-id" not in node or "num-partitions" not in node:
        raise HashfedError(
            "node-config: names no data; give texts=FOLDER client=NAME, or partition-id=I num-partitions=N"
        )
    place, parts = _integer(node, "partition-id"), _integer(node, "num-partitions")
    if not 0 <= place < parts:
        raise HashfedError(f"node-config: partition-id = {place}: must be from 0 to {parts - 1}")
    source = with_home(str(node.get("source", config.data.source)))
    if "source" not in node and source not in config.data.named and not _simulated():
        raise HashfedError(
            f"node-config: the run's data is the file {source} of the server; this node must say itself what "
            "it reads: source=PATH (hashfed join --source PATH)"
        )
    setting = "node-config: source" if "source" in node else "data.source"
    found = task.read(source, setting, config.evaluation.clients)
    return sorted(found, key=lambda item: full_name(item.key))[place::parts]


def _simulated() -> bool:
    """Whether this is an actor of Flower's simulation: on the server's machine, by its user."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None


def join(state: RecordDict, setup: RecordDict, node: UserConfig, read: ReadClients) -> dict[str, list[str]]:
    """Remember the run's configuration and this node's clients, encoded with the run's names of rows.

    Args:
        state: of the node, changed.
        setup: what ``make_setup`` made.
        node: the node's settings.
        read: gives the clients.

    Returns:
        Names of the clients by what they are for: ``train`` and ``held_out``.

    Raises:
        HashfedError: where their data cannot be read, or hold nothing to predict.
        UntoldError: likewise, in a run whose server learns sums alone.

    """
    numbers = cast(ConfigRecord, setup["setup"])
    config, told = _read_setup(numbers, cast(ArrayRecord, setup["names"]))
    demands(node)  # a mistake in it is this node's user's
    try:
        return _remember(state, numbers, config, told, node, read)
    except Exception as error:
        if in_lockstep(steps(config)):
            raise UntoldError(error) from error
        raise


def _remember(
    state: RecordDict, numbers: ConfigRecord, config: Config, told: bytes, node: UserConfig, read: ReadClients
) -> dict[str, list[str]]:
    task = make_task(config.data)
    names = task.read_names(told.decode())
    encoded = task.encode(read(node, config), names, "node-config")
    keys = {full_name(key): key for key, _ in encoded}
    if len(keys) < len(encoded):
        twice = Counter(full_name(key) for key, _ in encoded).most_common(1)[0][0]
        raise HashfedError(f"node-config: two clients would have the name {shown(twice)}; rename one")
    clients = [client for _, client in encoded if client is not None]
    if not clients:
        raise HashfedError("node-config: its data hold nothing to predict")
    hosted = _by_purpose([client.name for client in clients], keys, node, config)
    _forget_other_runs(state, str(numbers["identity"]))
    state["setup"] = ConfigRecord(
        {
            "config": str(numbers["config"]),
            "digest": str(numbers["digest"]),
            "identity": str(numbers["identity"]),
            "sizes": json.dumps(dict(names.sizes)),
            "clients": [client.name for client in clients],
            "held_out": hosted["held_out"] or [""],
        }
    )
    for position, client in enumerate(clients):
        columns = client.examples.columns()
        state[f"examples.{position}"] = records.arrays(
            {name: torch.from_numpy(values) for name, values in columns.items()}
        )
    return hosted


def _read_setup(numbers: ConfigRecord, names: ArrayRecord) -> tuple[Config, bytes]:
    """The run's configuration and names of rows, whose checksums are what the server says."""
    config = make_config(json.loads(str(numbers["config"])))
    told = records.tensors(names)["names"].numpy().tobytes()
    for name, value in _checksums(str(numbers["config"]), config, told).items():
        # They name files and decide what is remembered: what the server says is not enough.
        if numbers.get(name) != value:
            raise HashfedError(
                f"{name} of the run: not what this node finds; has the server another version of hashfed?"
            )
    if in_lockstep(steps(config)) and not config.secure.masks:
        raise HashfedError(
            "secure.masks = false: must be true over a network; this node adds to no sum without masks"
        )
    return config, told


def _by_purpose(
    names: list[str], keys: Mapping[str, Key], node: UserConfig, config: Config
) -> dict[str, list[str]]:
    """Names of clients to ``train`` and ``held_out`` ones."""
    # A node's own data are there to be trained on, whatever the clients' names; unless they say otherwise.
    own = {name for name, (stated, _) in keys.items() if stated is None and "partition-id" not in node}
    kind = config.evaluation.clients
    return {
        "train": [name for name in names if name in own or is_train(keys[name], kind)],
        "held_out": [name for name in names if name not in own and group(keys[name]) == kind],
    }


def _forget_other_runs(state: RecordDict, identity: str) -> None:
    """Leave nothing in a node's state but what clients keep of the run with this ``identity``."""
    same = "setup" in state and cast(ConfigRecord, state["setup"])["identity"] == identity
    kept = {key: record for key, record in state.items() if same and key.startswith(RESIDUAL)}
    state.clear()
    for key, record in kept.items():
        state[key] = record


def make_setup(config: Config, names: RowNames) -> RecordDict:
    """What a node needs once: the run's configuration and the names of rows.

    With a checksum of both, and one (``identity``) that stays when the run is resumed with other settings.
    """
    told = names.to_json().encode()
    # Where the server keeps its files is nothing that a client needs to know.
    text = json.dumps(config.model_dump(mode="json") | {"output": None})
    array = torch.frombuffer(bytearray(told), dtype=torch.uint8)
    numbers: dict[str, str] = {"config": text} | _checksums(text, config, told)
    return RecordDict({"setup": ConfigRecord({**numbers}), "names": records.arrays({"names": array})})


def _checksums(text: str, config: Config, names: bytes) -> dict[str, str]:
    """Of a run's configuration and names of rows, and of what of them stays when it is resumed."""
    return {
        "digest": hashlib.sha256(text.encode() + names).hexdigest(),
        "identity": hashlib.sha256(identity(config).encode() + names).hexdigest(),
    }


class NodeState:
    """A node that has joined.

    Attributes:
        config: of the run.
        sizes: numbers of rows by table.
        shape: of the model.
        memories: of its clients.
        secrets: of its clients.
        slices: where it takes slices from, whatever the server says (``slices`` in its settings); or None.

    """

    def __init__(self, context: Context, digest: str) -> None:
        """Read it.

        Raises:
            HashfedError: where the node has not joined the run with this checksum, as after a restart.

        """
        self._state = context.state
        setup = cast(ConfigRecord, self._state["setup"]) if "setup" in self._state else None
        if setup is None or setup["digest"] != digest:
            raise NotJoinedError("this node was started anew and has not joined the run yet")
        self.config = make_config(json.loads(str(setup["config"])))
        self.sizes: dict[str, int] = json.loads(str(setup["sizes"]))
        model = build_model(self.config)
        self.shape = ModelShape.of(model, self.sizes)
        self.memories = Memories(context.state, context.node_config, str(setup["identity"]))
        self.secrets = Secrets(context.state, demands(context.node_config))
        self.slices = (
            with_home(str(context.node_config["slices"])) if "slices" in context.node_config else None
        )
        self._names = cast(list[str], setup["clients"])
        self.held_out = [name for name in cast(list[str], setup["held_out"]) if name]

    def client(self, name: str) -> Client:
        """One of this node's clients.

        Raises:
            HashfedError: where this node hosts no such client.

        """
        if name not in self._names:
            raise HashfedError(f"client {name}: not hosted by this node")
        arrays = records.tensors(cast(ArrayRecord, self._state[f"examples.{self._names.index(name)}"]))
        columns = {column: values.numpy() for column, values in arrays.items()}
        return Client(name, make_task(self.config.data).from_columns(columns))

    def keep(self, content: RecordDict, round: int) -> None:
        """Remember the records that brought messages; those of other rounds, or replaced, are forgotten.

        A round may bring several, each for some of this node's clients.
        """
        new, kept = records.unpack(content).messages, self._parcels()
        for number, parcel in kept.items():
            replaced = all(set(held) <= set(new.get(name, ())) for name, held in parcel.messages.items())
            if parcel.round != round or replaced:
                self._drop(number)
        here = max(kept, default=-1) + 1
        for key, record in content.items():
            self._state[f"{KEPT}{here}.{key}"] = record

    def kept(self) -> dict[str, dict[str, Message]]:
        """What was remembered, by client and kind; the newest of each.

        Raises:
            HashfedError: where the records are damaged.

        """
        found: dict[str, dict[str, Message]] = {}
        for parcel in self._parcels().values():
            for name, messages in parcel.messages.items():
                found[name] = found.get(name, {}) | messages
        return found

    def drop(self, clients: Collection[str]) -> None:
        """Forget those whose clients, all of them, are among these."""
        for number, parcel in self._parcels().items():
            if set(parcel.messages) <= set(clients):
                self._drop(number)

    def _parcels(self) -> dict[int, Parcel]:
        """The parcels that brought them, in the order in which they came."""
        parts: dict[int, RecordDict] = {}
        for key, record in self._state.items():
            if key.startswith(KEPT):
                number, _, name = key.removeprefix(KEPT).partition(".")
                parts.setdefault(int(number), RecordDict())[name] = record
        return {number: records.unpack(parts[number]) for number in sorted(parts)}

    def _drop(self, number: int) -> None:
        for key in [key for key in self._state if key.startswith(f"{KEPT}{number}.")]:
            del self._state[key]


class NotJoinedError(HashfedError):
    """The node has not joined this run, or has forgotten it."""


class UntoldError(HashfedError):
    """A node cannot join, and its server, which learns sums alone, is not told why.

    Attributes:
        why: for the node's own log.

    """

    def __init__(self, why: Exception) -> None:
        """Of what happened."""
        super().__init__(str(why))
        self.why = why


def _integer(node: UserConfig, name: str) -> int:
    value = node[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise HashfedError(f"node-config: {name} = {value!r}: must be an integer")
    return value
