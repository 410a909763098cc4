"""Real processes: the simulator's numbers over Flower, and faults in each exchange."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from hashfed.config import Config
from hashfed.deploy.app_folder import CLIENT, write_app
from hashfed.deploy.commands import environment
from hashfed.deploy.processes import SuperLink, SuperNode
from hashfed.deploy.runs import RunResult, run_app, wait_for_run
from hashfed.engines.checkpoint import load_parameters
from hashfed.engines.local import simulator
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.rounds import draw_cohort
from hashfed.runs import RunFolder, train
from small import PATIENCE, small_config, small_data

NODES = 3


def deployed_config(texts: Path, output: Path, rounds: int = 2, **groups: object) -> Config:
    flower = {"clients": len(small_data(texts).train), "deadline": PATIENCE} | dict(groups.pop("flower", {}))  # type: ignore[call-overload]
    return small_config(texts, rounds=rounds, output=str(output), flower=flower, **groups)


class Deployment:
    """A SuperLink and three SuperNodes, or more."""

    def __init__(
        self, folder: Path, texts: Path, client: str = CLIENT, count: int = NODES, **node_config: object
    ) -> None:
        self.folder, self.client, self.node_config = folder, client, {"source": str(texts)} | node_config
        self.count = count
        self._stack = ExitStack()

    def __enter__(self) -> "Deployment":
        self.link = self._stack.enter_context(SuperLink(self.folder / "link"))
        self.nodes = []
        for part in range(self.count):
            config = {"partition-id": part, "num-partitions": self.count} | self.node_config
            node = SuperNode(self.link.address, config, self.folder / f"node{part}")  # type: ignore[arg-type]
            self.nodes.append(self._stack.enter_context(node))
        for node in self.nodes:
            node.wait_until_joined()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, config: Config) -> RunResult:
        """Train."""
        return wait_for_run(self.link, self.start(config), PATIENCE)

    def start(self, config: Config) -> int:
        """Submit the app."""
        app = self.folder / "app"
        write_app(app, config, client=self.client)
        return run_app(self.link, app)


def lines(folder: Path) -> list[dict[str, Any]]:
    """Metrics of the rounds without what only a network has."""
    found = RunFolder(folder).lines("metrics.jsonl")
    return [{name: value for name, value in line.items() if name != "wire_bytes"} for line in found]


def checkpoint(folder: Path) -> str:
    """Checksum of all parameters, moments and counts."""
    return str(json.loads((folder / "checkpoint" / "latest.json").read_text())["sha256"])


@pytest.fixture(scope="module")
def simulated(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("simulator") / "run"
    train(deployed_config(texts, output))
    assert all("bounded" in line for line in lines(output)), "planes are part of the default"
    return output


def test_three_supernodes_give_the_simulators_numbers(texts: Path, tmp_path: Path, simulated: Path) -> None:
    """Tolerance: none. Every line and every parameter are the same bits (one thread on both sides)."""
    with Deployment(tmp_path, texts) as deployment:
        result = deployment.run(deployed_config(texts, tmp_path / "run"))
    assert result.status == "completed", result.log
    assert lines(tmp_path / "run") == lines(simulated)
    assert checkpoint(tmp_path / "run") == checkpoint(simulated)


def test_flowers_simulation_gives_the_simulators_numbers(
    texts: Path, tmp_path: Path, simulated: Path
) -> None:
    pytest.importorskip("ray")
    config = deployed_config(texts, tmp_path / "run")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    script = Path(__file__).parents[2] / "flower_simulation.py"
    command = [sys.executable, str(script), str(tmp_path / "config.yaml"), str(tmp_path / "run"), "4"]
    ended = subprocess.run(
        command,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert lines(tmp_path / "run") == lines(simulated)
    assert checkpoint(tmp_path / "run") == checkpoint(simulated)


FAULTY = '''
"""hashfed's ClientApp, but one node does as its configuration says."""
import os, time
from pathlib import Path
from hashfed.engines.flower.client_app import make_client_app

def misbehave(message, context, call_next):
    fault = context.node_config
    if fault["partition-id"] == 1 and message.metadata.message_type == fault["exchange"]:
        if fault["fault"] == "raise":
            raise RuntimeError("out of battery")
        if fault["fault"] == "die":
            os._exit(3)
        marker = Path(fault["marker"])
        if not marker.exists():
            marker.touch()
            time.sleep(3600)
    return call_next(message, context)

app = make_client_app(mods=[misbehave])
'''


def faulty(folder: Path, texts: Path, exchange: str, fault: str, count: int = NODES) -> Deployment:
    (folder / "app").mkdir()
    (folder / "app" / "faulty.py").write_text(FAULTY)
    marker = str(folder / "marker")
    return Deployment(folder, texts, "faulty:app", count, exchange=exchange, fault=fault, marker=marker)


def wait_for(path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("exchange", ["query.join", "query.declare", "query.hash", "train"])
def test_a_supernode_is_killed_in_an_exchange(texts: Path, tmp_path: Path, exchange: str) -> None:
    """The round ends without it; started again it joins and is drawn again."""
    flower = {"clients": 10, "deadline": 300, "minimum_share": 0.1}
    config = deployed_config(texts, tmp_path / "run", rounds=6, cohort=9, flower=flower)
    with faulty(tmp_path, texts, exchange, "sleep") as deployment:
        run_id = deployment.start(config)
        wait_for(tmp_path / "marker")
        deployment.nodes[1].kill()
        deployment.nodes[1].start()
        result = wait_for_run(deployment.link, run_id, PATIENCE)
    assert result.status == "completed", result.log
    found = lines(tmp_path / "run")
    assert [line["round"] for line in found] == [1, 2, 3, 4, 5, 6]
    failed = {reason for line in found for reason in line.get("failed", {}).values()}
    if exchange != "query.join":
        assert failed
        # The node's first end is one of these two; a round that was drawn before may still have its clients.
        ends = [reason for reason in failed if "no answer to" in reason or "went offline" in reason]
        assert ends
        assert failed <= {*ends, "its node is gone"}
        for reason in failed:
            assert reason in result.log
    last = found[-1]
    assert "failed" not in last
    assert all(line["clients"] + len(line.get("failed", {})) <= 9 for line in found)


@pytest.mark.slow
@pytest.mark.parametrize("exchange", ["query.keys", "query.shares", "train", "query.unmask"])
def test_one_of_five_supernodes_is_killed_while_its_clients_add_to_a_sum(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: str
) -> None:
    """Two rounds end with the sums of those that are left, which are the simulator's to the bit."""
    groups: dict[str, Any] = {"retrieval": {"method": "frequency"}, "selection": {"delivery": "secure"}}
    flower = {"deadline": 300, "minimum_share": 0.1}
    config = deployed_config(texts, tmp_path / "run", cohort=9, flower=flower, **groups)
    with faulty(tmp_path, texts, exchange, "sleep", count=5) as deployment:
        run_id = deployment.start(config)
        wait_for(tmp_path / "marker")
        deployment.nodes[1].kill()
        result = wait_for_run(deployment.link, run_id, PATIENCE)
    assert result.status == "completed", result.log
    found = lines(tmp_path / "run")
    failed = [set(line.get("failed", {})) for line in found]
    assert any(failed)
    data = small_data(texts)
    drawn = {round: draw_cohort(config, round, len(data.train)) for round in (1, 2)}
    left = {
        round: [place for place in places if data.train[place].name not in failed[round - 1]]
        for round, places in drawn.items()
    }
    monkeypatch.setattr(simulator, "draw_cohort", lambda _, number, __: left[number])
    with Simulation(config, data) as simulation:
        assert [simulation.run_round().loss for _ in left] == [line["train_loss"] for line in found]
        expected = simulation.state.parameters
    there = load_parameters(tmp_path / "run" / "checkpoint")
    assert there is not None
    for name, value in expected.named().items():
        assert torch.equal(value, there.named()[name]), name


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "reason"), [("raise", "out of battery"), ("die", "its process died")])
def test_a_client_app_fails(texts: Path, tmp_path: Path, fault: str, reason: str) -> None:
    flower = {"minimum_share": 0.1}
    config = deployed_config(texts, tmp_path / "run", rounds=1, cohort=9, flower=flower)
    with faulty(tmp_path, texts, "train", fault) as deployment:
        result = deployment.run(config)
    assert result.status == "completed", result.log
    (line,) = lines(tmp_path / "run")
    assert line["clients"] < 9
    assert all(reason in text for text in line["failed"].values()), line["failed"]
    assert reason in result.log


def server_apps(home: Path) -> Iterator[int]:
    """Process ids of the ServerApps of the SuperLink with this ``FLWR_HOME``."""
    for item in Path("/proc").glob("[0-9]*"):
        try:
            words = (item / "cmdline").read_bytes().split(b"\0")
            variables = (item / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = f"FLWR_HOME={home}".encode() in variables
        if ours and any(word.endswith(b"flwr-serverapp") for word in words):
            yield int(item.name)


@pytest.mark.slow
def test_a_serverapp_is_killed_and_goes_on(texts: Path, tmp_path: Path) -> None:
    """Killed after a round, in the midst of the next; a new run ends with the simulator's bits."""
    train(deployed_config(texts, tmp_path / "expected", rounds=4))
    config = deployed_config(texts, tmp_path / "run", rounds=4)
    with Deployment(tmp_path, texts) as deployment:
        run_id = deployment.start(config)
        wait_for(tmp_path / "run" / "checkpoint" / "round-000002.safetensors")
        for process in server_apps(deployment.link.home):
            os.kill(process, signal.SIGKILL)
        result = wait_for_run(deployment.link, run_id, PATIENCE)
        assert result.status == "failed"
        assert RunFolder(tmp_path / "run").lines("metrics.jsonl")[-1]["round"] == 2
        result = deployment.run(config)
    assert result.status == "completed", result.log
    assert "training from round 2 to 4" in result.log
    assert lines(tmp_path / "run") == lines(tmp_path / "expected")
    assert checkpoint(tmp_path / "run") == checkpoint(tmp_path / "expected")
