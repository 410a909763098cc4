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
from hashfed.engines.budget import sketcher
from hashfed.engines.client_round import ClientRound, asks_for_keys
from hashfed.engines.exchange import build_model, draw_examples, play_round, publish_here
from hashfed.engines.server_round import ServerRound
from hashfed.engines.slice_store import CachedSource, FolderStore, slice_path
from hashfed.errors import HashfedError
from hashfed.federated import client as client_side
from hashfed.federated import server as server_side
from hashfed.federated import wire
from hashfed.federated.compression import compress_update, expand
from hashfed.federated.messages import Broadcast, Declare, Manifest, Message, SelectedRows, Update, Welcome
from hashfed.files import write_atomically
from hashfed.models import Model, Parameters, Transformer
from hashfed.models.protocol import OUTPUT
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.registry import make_task

PROBED_ROUND = 1
PROBES = 3
"""Processes whose median is reported."""


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
        model of a few numbers, so that the code and the work space of the libraries are not counted as
        the client's.

    Raises:
        HashfedError: where the process fails.

    """
    client = client or busiest_client(config, data)
    prior = data.label_counts
    index = build_index(parameters.rows, config.retrieval, prior, config.seed)
    published = None
    if config.selection.delivery == "pre-generated":
        manifest, store = publish_here(ServerRound.of(config, parameters, index, PROBED_ROUND, prior))
        published = manifest, CachedSource(store)
    with tempfile.TemporaryDirectory(prefix="hashfed-") as name:
        folder = Path(name)

        def keep(message: Message) -> None:
            if not isinstance(message, Update):
                write_atomically(folder / message.kind, wire.encode(message))

        play_round(config, model, parameters, index, client, PROBED_ROUND, keep, prior, published)
        examples = draw_examples(config, client, PROBED_ROUND, len(parameters.rows))
        try:
            save_file(examples.columns(), folder / "examples")
            (folder / "config.yaml").write_text(config.to_yaml())
            (folder / "client").write_text(client.name)
            if published is not None:
                _write_slices(folder / "slices", published[1])
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


def busiest_client(config: Config, data: FederatedData[Any]) -> Client:
    """The training client with the most predictions among its examples of the probed round."""
    size = data.size

    def predictions(client: Client) -> int:
        return draw_examples(config, client, PROBED_ROUND, size).weight

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
    config = load_config(folder / "config.yaml")
    model = build_model(config)
    task = make_task(config.data)
    examples = task.imagine(1, 1, 1).with_columns(load_file(folder / "examples"))
    _train_toy(config)
    baseline = resident_peak()
    welcome, selected = _receive(folder, config, model, examples)
    own = _declared(welcome, examples)
    local = client_side.join_rows(expand(welcome), own, expand(selected))
    budget = selected.budget
    del welcome, selected
    local = client_side.drop_rows(model, local, own, examples, budget)
    rng = stream(config.seed, "train", PROBED_ROUND, (folder / "client").read_text())
    update, _ = client_side.train(model, local, examples, config.client, task.loss, PROBED_ROUND, rng)
    wire.encode(compress_update(update, config.compression.updates))
    return {"memory_baseline": baseline, "memory_peak": resident_peak()}


def _declared(welcome: Welcome, examples: Examples) -> np.ndarray:
    """The client's own rows, where it was to say them."""
    return examples.own(OUTPUT).astype(np.int32) if len(welcome.own_rows) else np.empty(0, np.int32)


def _receive(folder: Path, config: Config, model: Model, examples: Examples) -> tuple[Welcome, SelectedRows]:
    """All steps before training; what they need besides is freed at the end."""
    if config.selection.delivery == "on-demand":
        welcome = wire.decode((folder / "welcome").read_bytes())
        assert isinstance(welcome, Welcome)
        own = _declared(welcome, examples)
        if asks_for_keys(config, welcome.encoder):
            client_side.hash_queries(model, expand(welcome), own, examples, sketcher(config))
        selected = wire.decode((folder / "rows").read_bytes())
        assert isinstance(selected, SelectedRows)
        return welcome, selected
    client = Client((folder / "client").read_text(), examples)
    if config.selection.delivery == "broadcast":
        message = wire.decode((folder / "broadcast").read_bytes())
        assert isinstance(message, Broadcast)
        here = ClientRound(config, model, client, PROBED_ROUND, len(message.rows))
        here.examples = examples  # drawn already
        return here.select_broadcast(message)
    manifest = wire.decode((folder / "manifest").read_bytes())
    assert isinstance(manifest, Manifest)
    here = ClientRound(config, model, client, PROBED_ROUND, len(manifest.row_addresses))
    here.examples = examples
    return here.select_published(manifest, CachedSource(FolderStore(folder / "slices")))


def _train_toy(config: Config) -> None:
    """Hash and train once with 8 rows and a width of 4."""
    model = Transformer(embedding=4, attention=4, heads=1, ffn=4, blocks=1)
    parameters = model.init(8, stream(0, "toy"))
    task = make_task(config.data)
    examples = task.imagine(1, 5, 5)
    # The smallest index: the server's tables must not count into the client's baseline.
    smallest = config.retrieval.model_copy(
        update={"bits": 1, "tables": 1, "subspaces": 1, "faiss_factory": "Flat"}
    )
    index = build_index(parameters.rows, smallest, np.ones(8), 0)
    own = examples.own(OUTPUT).astype(np.int32)
    welcome = server_side.welcome(parameters, index, Declare(1, own, len(parameters.rows)))
    client_side.hash_queries(model, welcome, own, examples)
    local = client_side.LocalModel(None, parameters.rows, None, parameters.body)
    client_side.train(model, local, examples, config.client, task.loss, 1, stream(0, "toy"))


if __name__ == "__main__":
    print(json.dumps(_client_process(Path(sys.argv[1]))))
