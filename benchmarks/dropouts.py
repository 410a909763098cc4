"""What becomes of a round that leaves a sum alone when SuperNodes are killed in one of its steps; JSON.

A SuperLink and SuperNodes with one client each, every one its own process, on loopback. In a step a share of
the nodes keeps its answer to itself and is ended by SIGKILL, with all that it started, as by a power cut. For
each step: how many clients are in the sum, whether the model that it gives is bit for bit that of a
simulation of the same clients without masks, how long the round took, and what is said of the others.
Needs hashfed[flower,chitchat]:

    python -m benchmarks.dropouts --nodes 20 --share 0.3 --steps keys shares train unmask
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.deployment import deployment, write_clients
from hashfed.cli.arguments import Parser, add_settings, overrides
from hashfed.config import Config, load_config
from hashfed.deploy.app_folder import write_app
from hashfed.deploy.commands import Value
from hashfed.deploy.runs import run_app, wait_for_run
from hashfed.engines.checkpoint import load_parameters
from hashfed.engines.local import simulator
from hashfed.engines.network.exchanges import type_of
from hashfed.errors import HashfedError
from hashfed.federated.protocols import PROTOCOLS
from hashfed.runs import RunFolder, load_data

STEPS = [step.name for step in PROTOCOLS["secure"]]
APP = '''
"""hashfed's ClientApp, but some nodes keep their answers to one exchange to themselves."""
import time
from pathlib import Path
from hashfed.engines.flower.client_app import make_client_app

def wait(message, context, call_next):
    node = context.node_config
    answer = call_next(message, context)
    if node["partition-id"] < node["doomed"] and message.metadata.message_type == node["exchange"]:
        Path(node["waiting"], str(node["partition-id"])).touch()
        time.sleep(3600)
    return answer

app = make_client_app(mods=[wait])
'''


def kill_in(step: str, doomed: int, config: Config, folder: Path) -> dict[str, Any]:
    """One round, with so many nodes killed once each of them has the answer to the step."""
    source = folder / "clients.jsonl"
    names = write_clients(source, config, load_data(config))
    app, waiting = folder / "app", folder / "waiting"
    write_app(app, config, client="waiting:app")
    (app / "waiting.py").write_text(APP)
    waiting.mkdir()
    node: dict[str, Value] = {
        "source": str(source),
        "doomed": doomed,
        "exchange": type_of(step),
        "waiting": str(waiting),
    }
    limit = 60.0 * config.cohort
    with deployment(folder, config.cohort, node) as (link, nodes):
        run = run_app(link, app)
        end = time.monotonic() + limit
        while len(list(waiting.iterdir())) < doomed:
            if time.monotonic() > end:
                raise HashfedError(
                    f"{len(list(waiting.iterdir()))} of {doomed} nodes came to {step} in {limit:g} s"
                )
            time.sleep(0.2)
        for one in nodes[:doomed]:
            one.kill()
        result = wait_for_run(link, run, limit)
    lines = RunFolder(config.folder()).lines("metrics.jsonl")
    if not lines:
        told = [line for line in result.log.splitlines() if "round 1" in line]
        return {"status": result.status, "told": told[-1:]}
    (line,), (times,) = lines, RunFolder(config.folder()).lines("timings.jsonl")
    return {
        "status": result.status,
        "in the sum": line["clients"],
        "of": config.cohort,
        "as without masks": is_plain_sum(config, set(names) - set(line.get("failed", {}))),
        "seconds": round(times["play"], 1),
        "waits": {name: round(value, 1) for name, value in times.items() if name.endswith("_wait")},
        "told": sorted(set(line.get("failed", {}).values())),
    }


def is_plain_sum(config: Config, names: Collection[str]) -> bool:
    """Whether the saved model is that of these clients' sum without masks in the simulator, bit for bit."""
    open_sums = config.model_copy(update={"secure": config.secure.model_copy(update={"masks": False})})
    data = load_data(open_sums)
    left = [place for place, client in enumerate(data.train) if client.name in names]
    with (
        mock.patch.object(simulator, "draw_cohort", return_value=left),
        simulator.Simulation(open_sums.model_copy(update={"workers": 1}), data) as simulation,
    ):
        simulation.run_round()
        expected = simulation.state.parameters.named()
    found = load_parameters(config.folder() / "checkpoint")
    return found is not None and all(
        torch.equal(value, found.named()[name]) for name, value in expected.items()
    )


def main() -> None:
    """Kill in each step and print what became of the round."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path, nargs="?", help="YAML file; none: the defaults")
    parser.add_argument("--nodes", type=int, default=20, help="SuperNodes [default: %(default)s]")
    parser.add_argument("--share", type=float, default=0.3, help="of them are killed [default: %(default)s]")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    add_settings(parser)
    arguments = parser.parse_args()
    doomed, found = round(arguments.share * arguments.nodes), {}
    try:
        for step in arguments.steps:
            with tempfile.TemporaryDirectory(prefix="hashfed-") as name:
                fixed = {
                    "rounds": "1",
                    "cohort": str(arguments.nodes),
                    "evaluation.examples": "100",
                    "evaluation.final_examples": "100",
                    "flower.clients": str(arguments.nodes),
                    "flower.minimum_share": "0.1",
                    "retrieval.method": "frequency",
                    "selection.budget": "0.1",
                    "selection.delivery": "secure",
                    "output": f"{name}/run",
                }
                config = load_config(arguments.config, fixed | overrides(arguments))
                found[step] = kill_in(step, doomed, config, Path(name))
            print(json.dumps({step: found[step]}), file=sys.stderr, flush=True)
    except HashfedError as error:
        parser.error(str(error))
    told = {"nodes": arguments.nodes, "killed": doomed, "load": os.getloadavg()[1]}
    print(json.dumps(told | {"steps": found}, indent=1))


if __name__ == "__main__":
    main()
