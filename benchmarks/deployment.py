"""Seconds of a round in a deployment on this machine, and where they go; print JSON.

A SuperLink and three SuperNodes (``--nodes``), each its own process, on loopback; each node hosts one client
of the data. The same clients train with hashfed on all rows, on 10% of them with keys and without, so that
the server learns their sum alone, and with a plain Flower app (``plain_flower``: its own FedAdam, of the
whole model). The first round is left out, for nodes join in it. Needs hashfed[flower,chitchat]:

    python -m benchmarks.deployment configs/sample.yaml --rounds 8
    python -m benchmarks.deployment --nodes 20 --rounds 3 --variants "hashfed, sums alone"

Settings of all runs may be given as for ``hashfed train``.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hashfed.cli.arguments import Parser, add_settings, overrides
from hashfed.config import Config, load_config
from hashfed.data import read_texts
from hashfed.deploy.app_folder import write_app
from hashfed.deploy.commands import Value
from hashfed.deploy.processes import START_SECONDS, SuperLink, SuperNode
from hashfed.deploy.runs import reason_of, run_app, wait_for_run
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import draw_examples
from hashfed.errors import HashfedError
from hashfed.runs import RunFolder, load_data
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary

VARIANTS: dict[str, dict[str, str]] = {
    "hashfed, all rows": {"retrieval.method": "full"},
    "hashfed, 10% of the rows": {"selection.budget": "0.1"},
    "hashfed, 10%, no keys": {"retrieval.method": "frequency", "selection.budget": "0.1"},
    "hashfed, sums alone": {
        "retrieval.method": "frequency",
        "selection.budget": "0.1",
        "selection.delivery": "secure",
    },
    "plain Flower FedAdam": {"retrieval.method": "full"},
}
"""Settings of each; the peer takes sizes and learning rates from them."""
PEER = Path(__file__).parent / "plain_flower"


@contextmanager
def deployment(
    folder: Path, nodes: int, config: Mapping[str, Value]
) -> Iterator[tuple[SuperLink, list[SuperNode]]]:
    """A SuperLink with SuperNodes that are online."""
    with ExitStack() as stack:
        link = stack.enter_context(SuperLink(folder / "link"))
        started = []
        for part in range(nodes):
            numbers: dict[str, Value] = {"partition-id": part, "num-partitions": nodes, **config}
            node = SuperNode(link.address, numbers, folder / f"node{part}")
            started.append(stack.enter_context(node))
        link.wait_for_nodes(nodes, START_SECONDS * nodes)
        yield link, started


def write_clients(path: Path, config: Config, data: FederatedData[Vocabulary]) -> list[str]:
    """A JSON Lines file with the texts of a cohort, the training clients that have the most; their names."""
    most = sorted(data.train, key=lambda client: -client.examples.weight)[: config.cohort]
    names = {client.name for client in most}
    texts = {item.client: item.texts for item in read_texts(config.data.source) if item.client in names}
    lines = [json.dumps({"client": name, "texts": list(texts[name])}) for name in sorted(names)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return sorted(names)


def run(folder: Path, config: Config, app: Path, settings: Mapping[str, Value], source: str) -> None:
    """Submit an app to a fresh deployment and wait for its end."""
    with deployment(folder, config.cohort, {"source": source}) as (link, _):
        result = wait_for_run(link, run_app(link, app, settings), 20 * config.cohort * (2 + config.rounds))
    if result.status != "completed":
        raise HashfedError(f"{app}: {reason_of(result)}")


def measure_hashfed(folder: Path, config: Config, source: str) -> dict[str, Any]:
    """Medians over the rounds but the first; seconds, and bytes of all nodes together."""
    write_app(folder / "app", config)
    run(folder, config, folder / "app", {}, source)
    output = RunFolder(config.folder())
    times = output.lines("timings.jsonl")[1:]
    metrics = output.lines("metrics.jsonl")[1:]
    parts = {name: median([line.get(name, 0.0) for line in times]) for name in sorted(times[-1])}
    parts.pop("round")
    wire = {way: median([line["wire_bytes"][way] for line in metrics]) for way in ("down", "up")}
    return seconds([line["play"] for line in times]) | {"parts": parts, "wire_bytes": wire}


def measure_plain(
    folder: Path, config: Config, data: FederatedData[Vocabulary], names: list[str], source: str
) -> dict[str, Any]:
    """The same for the peer; ``client`` is the mean of its clients' seconds."""
    app = folder / "app"
    shutil.copytree(PEER, app, ignore=shutil.ignore_patterns("__pycache__"))
    size = data.size
    (folder / "config.yaml").write_text(config.to_yaml())
    (folder / "size.json").write_text(json.dumps(size))
    clients = {client.name: client for client in data.train}
    for part, name in enumerate(names):
        columns = draw_examples(config, build_model(config), clients[name], 1, size).columns()
        np.savez(folder / f"client{part}.npz", inputs=columns["inputs"], targets=columns["targets"])
    run(folder, config, app, {"folder": str(folder), "rounds": config.rounds}, source)
    found = json.loads((folder / "plain.json").read_text())
    client = median(found["client_seconds"][1:])
    return seconds(found["round_seconds"][1:]) | {"parts": {"client": client}}


def seconds(rounds: list[float]) -> dict[str, Any]:
    """Median and range of a round."""
    return {"round_seconds": median(rounds), "range": [min(rounds), max(rounds)], "rounds": len(rounds)}


def median(values: list[float]) -> float:
    """Rounded to milliseconds, or bytes."""
    return round(statistics.median(values), 3)


def main() -> None:
    """Run all variants and print them."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path, nargs="?", help="YAML file; none: the defaults")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--nodes", type=int, default=3, help="SuperNodes [default: %(default)s]")
    add_settings(parser)
    arguments = parser.parse_args()
    settings = overrides(arguments)
    rounds = settings.setdefault("rounds", "8")
    found: dict[str, Any] = {}
    try:
        for variant in arguments.variants:
            with tempfile.TemporaryDirectory(prefix="hashfed-") as name:
                fixed = {
                    "cohort": str(arguments.nodes),
                    "evaluation.every": rounds,
                    "evaluation.examples": "100",
                    "flower.clients": str(arguments.nodes),
                    "output": f"{name}/run",
                }
                config = load_config(arguments.config, fixed | settings | VARIANTS[variant])
                data = load_data(config)
                source = f"{name}/clients.jsonl"
                names = write_clients(Path(source), config, data)
                if variant == "plain Flower FedAdam":
                    found[variant] = measure_plain(Path(name), config, data, names, source)
                else:
                    found[variant] = measure_hashfed(Path(name), config, source)
            print(json.dumps({variant: found[variant]}), file=sys.stderr, flush=True)
    except HashfedError as error:
        parser.error(str(error))
    print(json.dumps({"nodes": arguments.nodes, "load": os.getloadavg()[1]} | found, indent=1))


if __name__ == "__main__":
    main()
