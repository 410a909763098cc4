"""A bug of the server, or of a node, ends or is reported as what it is; it is no client's fault."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import UserConfig

from hashfed.config import make_config
from hashfed.engines import round_end
from hashfed.engines.flower import client_app
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.flower.transport import FlowerTransport
from hashfed.engines.network import round_play
from hashfed.engines.network.waiting import WaitingUpdates
from hashfed.engines.server_round import ServerRound
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated import server as server_side
from hashfed.federated import wire
from hashfed.federated.messages import Update
from hashfed.federated.protocols import on_demand
from hashfed.federated.sums import UpdateSum
from loopback import LoopbackGrid, partitions
from small import prepare


class BugError(Exception):
    """Nobody expects it."""


def later(call: Callable[..., Any], calls: int, until: float = math.inf) -> Callable[..., Any]:
    """As ``call`` the first times, then a bug; as ``call`` again after ``until`` times."""
    made = 0

    def broken(*arguments: Any, **named: Any) -> Any:
        nonlocal made
        made += 1
        if calls < made <= until:
            raise BugError("somewhere")
        return call(*arguments, **named)

    return broken


PLACES: list[tuple[Any, str]] = [
    (ServerRound, "welcome"),
    (ServerRound, "select"),
    (server_side, "cut_to_budget"),
    (server_side, "send_rows"),
    (round_end, "accept_update"),
    (round_play, "client_limits"),
    (on_demand, "rows_sent"),
    (FlowerTransport, "pack"),
    (wire, "size"),
    (WaitingUpdates, "put"),
    (WaitingUpdates, "take"),
    (Update, "check_values"),
    (UpdateSum, "add"),
    (UpdateSum, "mean"),
    (ServerState, "finish_round"),
]


@pytest.mark.parametrize("calls", [0, 2])
@pytest.mark.parametrize(("where", "name"), PLACES, ids=lambda item: getattr(item, "__name__", item))
def test_a_bug_of_the_server_ends_the_run(
    texts: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, calls: int
) -> None:
    """At once, or in the middle of a round: nobody is listed as failed, and the model stays."""
    config, data = prepare(texts)
    said: list[str] = []
    plays: list[round_play.RoundPlay] = []
    start = round_play.RoundPlay._start

    def noted(self: round_play.RoundPlay) -> None:
        plays.append(self)
        start(self)

    with FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data, said.append) as engine:
        engine._wait_for_clients(len(data.train))
        monkeypatch.setattr(round_play.RoundPlay, "_start", noted)
        monkeypatch.setattr(where, name, later(getattr(where, name), calls))
        once = name in ("client_limits", "mean", "finish_round")
        for _ in range(calls if once else 0):
            engine.run_round()
        before = engine.state.parameters.clone()
        with pytest.raises(BugError, match="somewhere"):
            engine.run_round()
        assert all(play.failed == {} for play in plays)
        assert not any("attempt" in line for line in said)
        for kind, value in engine.state.parameters.named().items():
            assert torch.equal(value, before.named()[kind])


@pytest.mark.parametrize("delivery", ["on-demand", "broadcast"])
def test_a_mistake_of_the_user_is_no_clients_fault(texts: Path, delivery: str) -> None:
    """It was found where rows are selected, and said of each client."""
    config, data = prepare(texts)
    tree = config.model_dump() | {"selection": {"max_bytes": 5, "delivery": delivery}}
    with pytest.raises(HashfedError, match=r"^selection\.max_bytes = 5: one row takes 32 bytes$"):
        FlowerRounds(LoopbackGrid(app, partitions(texts)), make_config(tree), data)


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (client_app, "build_model"),
        (on_demand, "check_welcome"),
        (on_demand, "check_selected"),
        (client_app, "train_report"),
    ],
    ids=lambda item: getattr(item, "__name__", item),
)
def test_a_bug_on_a_node_is_told_with_its_type(
    texts: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    """To the server on one line; the node's own log has the traceback."""
    config, data = prepare(texts, minimum_share=0.1)
    logged: list[BaseException] = []

    def log(level: int, text: str, *_: object, exc_info: BaseException) -> None:
        logged.append(exc_info)

    with FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data) as engine:
        engine._wait_for_clients(len(data.train))
        monkeypatch.setattr(client_app, "log", log)
        monkeypatch.setattr(where, name, later(getattr(where, name), 3, 5))
        record = engine.run_round()
    assert record.failed
    assert set(record.failed.values()) == {"BugError: somewhere"}
    assert len(logged) == len(record.failed) == 2
    assert all(isinstance(error, BugError) and error.__traceback__ for error in logged)


def test_a_mistake_on_a_node_is_no_bug(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = prepare(texts, patience=1)
    logged: list[dict[str, object]] = []
    monkeypatch.setattr(client_app, "log", lambda *_, **more: logged.append(more))
    nodes: list[UserConfig] = [{"texts": "/no/such/folder"}]
    with (
        FlowerRounds(LoopbackGrid(app, nodes), config, data) as engine,
        pytest.raises(HashfedError, match="only 0 of"),
    ):
        engine.run_round()
    assert not any("exc_info" in more for more in logged)
