"""Peak memory of a client, measured in a fresh process that holds only what a client holds.

Run as a module it is that process: it reads the messages the client receives, fetches slices, hashes, trains,
and prints its memory as JSON.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hashfed.config import Config, load_config
from hashfed.engines.allocator import return_memory
from hashfed.engines.budget import build_model, steps
from hashfed.engines.client_round import ClientRound, drawn_predictions
from hashfed.engines.common_plan import fresh_known
from hashfed.engines.exchange import TRAINING, play_round, play_to_training
from hashfed.engines.server_round import ServerRound
from hashfed.engines.slice_store import CachedSource, FolderStore, slice_path
from hashfed.errors import HashfedError
from hashfed.federated import client as client_side
from hashfed.federated import server as server_side
from hashfed.federated import wire
from hashfed.federated.messages import Message
from hashfed.federated.privacy.masks import add_mask
from hashfed.federated.privacy.primitives import KEY, NONCE, agree, derive, public_key, seal, unseal
from hashfed.federated.protocols import Received, in_lockstep, needed_later
from hashfed.federated.sum_secrets import SumSecrets
from hashfed.files import write_atomically
from hashfed.models import Model, Parameters
from hashfed.models.noise import generator
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.registry import make_task

PROBED_ROUND = 1
PROBES = 3
"""Processes whose median is reported."""
EXAMPLES, CONFIG, CLIENT, SLICES, SECRETS = "@examples", "@config.yaml", "@client", "@slices", "@secrets"
"""Files of such a process, beside the messages by their kinds."""
STAND_INS = "@1", "@2"
"""Names of clients without data, with whom a client can sum."""


def measure_device_memory(
    config: Config,
    model: Model,
    data: FederatedData[Any],
    parameters: Parameters,
    client: Client | None = None,
) -> dict[str, int]:
    """Memory of a training client, by default of the one that has the most to predict in a round.

    Freed arrays go back to the kernel at once (``allocator.return_memory``), so the peak is that of the
    memory in use, the same within a percent or two from process to process.

    Returns:
        ``memory_peak``: peak resident bytes of the process; ``memory_baseline``: those of the same
        process before the first message, once Python, torch and hashfed are loaded and have trained a
        model of a few numbers, and masked one where clients do, so that the code and the work space of the
        libraries are not counted as the client's.

    Raises:
        HashfedError: where the process fails.

    """
    client = client or busiest_client(config, model, data)
    index = build_index(parameters.rows, config.retrieval, data.label_counts, config.seed)
    here = ClientRound(config, model, client, PROBED_ROUND, parameters.sizes)
    known = fresh_known(config, here.shape, parameters.rows)
    there = ServerRound.of(
        config, parameters, index, PROBED_ROUND, data.label_counts, known, [client.name, *STAND_INS]
    )
    with tempfile.TemporaryDirectory(prefix="hashfed-") as name:
        folder = Path(name)

        def keep(message: Message) -> None:
            write_atomically(folder / message.kind, wire.encode(message))

        if in_lockstep(there.steps):
            write_atomically(folder / SECRETS, play_to_training(there, here, keep))
        else:
            play_round(there, here, keep)
        try:
            save_file(here.examples.columns(), folder / EXAMPLES)
            (folder / CONFIG).write_text(config.to_yaml())
            (folder / CLIENT).write_text(json.dumps([client.name, dict(here.sizes)]))
            if here.source is not None:
                _write_slices(folder / SLICES, here.source)
        except (OSError, SafetensorError) as error:
            raise HashfedError(f"{name}: cannot be written ({error})") from None
        found = [run_fresh(__name__, name) for _ in range(PROBES)]
    return {key: int(statistics.median(item[key] for item in found)) for key in found[0]}


def _write_slices(folder: Path, fetched: CachedSource) -> None:
    """The slices that a client fetched, as ``FolderStore`` has them; not flushed to disk one by one."""
    for address, data in fetched.kept.items():
        path = folder / slice_path(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def run_fresh(module: str, argument: str) -> dict[str, int]:
    """What a fresh process prints that runs ``module`` with one argument: a JSON object of integers.

    In a session of its own, so that a Ctrl-C for the run does not end it half-way.

    Raises:
        HashfedError: where the process fails.

    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::RuntimeWarning", "-m", module, argument],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise HashfedError(f"the process that measures memory ({module}) failed: {reason}")
    return {key: int(value) for key, value in json.loads(done.stdout).items()}


def busiest_client(config: Config, model: Model, data: FederatedData[Any]) -> Client:
    """The training client with the most predictions among its examples of the probed round."""
    size = data.size

    def predictions(client: Client) -> int:
        return drawn_predictions(config, model, client, PROBED_ROUND, size)

    return max(data.train, key=predictions)


def resident_peak() -> int:
    """Peak resident bytes of this process.

    Linux keeps ``ru_maxrss`` across exec, so a child would report its parent's peak; VmHWM starts anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _client_process(folder: Path) -> dict[str, int]:
    return_memory()
    torch.set_num_threads(1)
    here = _client(folder)
    _train_toy(here.config)
    if here.secrets.held is not None:
        _mask_toy()
    baseline = resident_peak()
    _play(here, folder)
    return {"memory_baseline": baseline, "memory_peak": resident_peak()}


def _client(folder: Path) -> ClientRound:
    """With the examples that were drawn; it holds nothing else of the data."""
    config = load_config(folder / CONFIG)
    drawn = make_task(config.data).from_columns(load_file(folder / EXAMPLES))
    name, sizes = json.loads((folder / CLIENT).read_text())
    client = Client(name, drawn)
    here = ClientRound(config, build_model(config), client, PROBED_ROUND, sizes)
    here.examples = drawn
    here.source = CachedSource(FolderStore(folder / SLICES))
    if (folder / SECRETS).exists():
        here.secrets = SumSecrets.read((folder / SECRETS).read_bytes())
    return here


def _play(here: ClientRound, folder: Path) -> None:
    """The client's part of all steps; what a step leaves and no later one needs is freed.

    Of a round in lockstep, whose other steps hold keys and shares alone, its training.
    """
    round, got = steps(here.config), Received()
    if in_lockstep(round):
        round = tuple(step for step in round if step.name == TRAINING)
    for step in round:
        for down in step.down:
            got[down.kind.kind] = wire.decode((folder / down.kind.kind).read_bytes())
        wire.encode(step.up.make(here, got))
        for kind in set(got) - needed_later(round, step):
            del got[kind]


def _train_toy(config: Config) -> None:
    """Hash and train once with 8 rows of each table."""
    model = config.model.smallest().build()
    parameters = model.init(dict.fromkeys(model.tables, 8), stream(0, "toy"))
    task = make_task(config.data)
    examples = task.imagine(1, 5, 5)
    # The smallest index: the server's tables must not count into the client's baseline.
    index = build_index(parameters.rows, config.retrieval.smallest(), np.ones(8), 0)
    declared = client_side.declare(model, examples, 1, len(parameters.rows))
    welcome = server_side.welcome(parameters, index, declared)
    client_side.hash_queries(model, welcome, declared, examples)
    inputs = {name: ids.astype(np.int64) for name, ids in declared.inputs.items()}
    local = client_side.LocalModel(
        None, parameters.rows, None, parameters.body, None, inputs, welcome.input_rows
    )
    rng = stream(0, "toy")
    client_side.train(model, local, examples, config.client, task.loss.gradients, 1, rng, generator(rng))


def _mask_toy() -> None:
    """Agree on a key, seal and unseal nothing, and mask one number."""
    (secret,) = agree(b"1" * KEY, [public_key(b"2" * KEY)])
    key = derive(secret or bytes(KEY), b"toy")
    unseal(key, seal(key, bytes(NONCE), b"", b""), b"")
    add_mask(np.zeros(1, np.uint32), key)


if __name__ == "__main__":
    print(json.dumps(_client_process(Path(sys.argv[1]))))
