"""The peer in a process of its own, played by stand-ins."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from hashfed.bench import device, pfl_research, work
from hashfed.bench.cells import MOST_ROUNDS, LeftOut, Outcome
from hashfed.bench.device import ENGINE, PEER, Plan, bench_device
from hashfed.bench.table import print_device_table
from hashfed.bench.timing import Clock, TimeLimit
from hashfed.bench.work import random_work
from hashfed.config import Config
from small import PATIENCE

PLAYS = """
from benchmarks.simulation.peers.workload import load_workload, parse_arguments, write_result

arguments = parse_arguments(("cpu", "cuda"))
assert (arguments.workers, arguments.device) == (1, "cpu")
workload = load_workload(arguments.path)
assert workload.rows.shape == (34, 96)
assert (workload.heads, workload.blocks, workload.steps_per_client) == (8, 3, 2)
seconds = [9.0] + [0.5] * (arguments.rounds - 2) + [0.25]
write_result("stand-in", "numpy", workload, [], seconds, {}, None)
"""
"""Takes half a second for a round but the first and the last."""
FAILS = """
import pathlib, sys

with pathlib.Path(__file__).with_suffix(".runs").open("a") as file:
    file.write("run ")
sys.exit("no such\\x1b[1m GPU")
"""
HANGS = "import threading\n\nthreading.Event().wait()\n"

StandIn = Callable[[str], Path]


def ticking() -> Clock:
    """Goes on, by next to nothing, whenever it is looked at."""
    times: Iterator[int] = count()
    return lambda: 1e-6 * next(times)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Puts a program in the peer's place, which is installed then."""

    def put(text: str) -> Path:
        program = tmp_path / "program.py"
        program.write_text(text)
        monkeypatch.setattr(pfl_research, "PROGRAM", program)
        monkeypatch.setattr(pfl_research, "DISTRIBUTION", "numpy")
        return program

    return put


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Small clients of two steps."""
    for name, value in {"SENTENCES": 4, "LENGTH": 5, "BATCH": 2}.items():
        monkeypatch.setattr(work, name, value)
    monkeypatch.setattr("hashfed.bench.cells.MOST_ROUNDS", 1)
    return Plan([random_work(Config(), 30, 3)], (1.0,), (2, 3), "cpu", PATIENCE, quick=False)


def of(result: dict[str, Any], what: str) -> list[dict[str, Any]]:
    return [cell for cell in result["cells"] if cell["what"] == what]


def lines(result: dict[str, Any]) -> list[str]:
    """Of the table that name the peer."""
    file = StringIO()
    print_device_table(result, file)
    return [line for line in file.getvalue().splitlines() if PEER in line]


def test_rounds_are_timed_beside_the_engines(plan: Plan, stand_in: StandIn) -> None:
    stand_in(PLAYS)
    told = list[str]()
    result = bench_device(plan, ticking(), told.append)
    assert told[2::2] == [f"random, 34 rows: pfl-research, cohort {cohort}" for cohort in (2, 3)]
    common = {"what": PEER, "clients": "random", "rows": 34, "budget": "1", "repetitions": MOST_ROUNDS}
    assert of(result, PEER) == [
        {
            **common,
            "cohort": cohort,
            "steps_per_second": {"median": 4 * cohort, "minimum": 4 * cohort, "maximum": 8 * cohort},
            "rounds_per_second": {"median": 2, "minimum": 2, "maximum": 4},
        }
        for cohort in (2, 3)
    ]
    assert set(result["peers"][PEER]) == {"version"}
    assert json.loads(json.dumps(result)) == result
    first, second, note = lines(result)
    assert first.split()[:9] == ["random,", PEER, "34", "full", "2", "8.0", "(8.0", "–", "16.0)"]
    assert second.split()[:6] == ["random,", PEER, "34", "full", "3", "12.0"]
    assert note == f"{PEER}: {result['peers'][PEER]['version']}"


@pytest.mark.parametrize("reason", ["not installed", "not in a source checkout"])
def test_where_it_is_not_there_the_reason_is_a_line(
    reason: str, plan: Plan, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = stand_in(PLAYS)
    if reason == "not installed":
        monkeypatch.setattr(pfl_research, "DISTRIBUTION", "no-such-distribution")
    else:
        program.unlink()
    result = bench_device(plan, ticking())
    assert result["peers"] == {PEER: {"left_out": reason}}
    assert of(result, PEER) == []
    assert lines(result) == [f"{PEER}: {reason}"]


def test_a_failure_is_a_line_and_not_tried_again(plan: Plan, stand_in: StandIn) -> None:
    program = stand_in(FAILS)
    result = bench_device(plan, ticking())
    reason = f"{PEER} ended with exit code 1: no such\\x1b[1m GPU"
    assert [cell["left_out"] for cell in of(result, PEER)] == [reason] * 2
    assert program.with_suffix(".runs").read_text() == "run "
    assert all("steps_per_second" in cell for cell in of(result, ENGINE))
    line, _ = lines(result)
    assert line.split()[:5] == ["random,", PEER, "34", "full", "any"]
    assert line.endswith(f"left out: {reason}")


def test_one_that_takes_too_long_is_ended(
    plan: Plan, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(HANGS)
    monkeypatch.setattr(pfl_research, "START", 0.0)
    result = bench_device(Plan(**vars(plan) | {"seconds": 3.0}), ticking())
    assert [cell["left_out"] for cell in of(result, PEER)] == [f"{PEER} was ended after 1 s"] * 2
    assert all("steps_per_second" in cell for cell in of(result, ENGINE))


def test_it_is_not_started_where_it_would_take_too_long(
    plan: Plan, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = stand_in(FAILS)
    monkeypatch.setattr(pfl_research, "START", PATIENCE)
    result = bench_device(plan, ticking())
    assert all(cell["left_out"].startswith("would take ") for cell in of(result, PEER))

    def lacking(*_: object) -> Outcome:
        return LeftOut("out of memory")

    monkeypatch.setattr(device, "clients_of_loop", lacking)
    result = bench_device(plan, ticking())
    assert [cell["left_out"] for cell in of(result, PEER)] == ["as plain PyTorch is"] * 2
    assert not program.with_suffix(".runs").exists()


def test_a_full_disk_is_a_reason(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(pfl_research, "write_workload", full)
    (random,) = plan.works
    config, limit = random.config(1.0, 2, "cpu"), TimeLimit(PATIENCE, ticking(), 1)
    found = pfl_research.rounds(config, random.parameters, random.drawn(config, 1), limit, 1.0)
    assert found == LeftOut("No space left on device")
