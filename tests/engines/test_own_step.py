"""A step of one's own: a question and an answer before the training, which touch no file of hashfed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import pytest
from flwr.app import Message as FlowerMessage

from hashfed.cost.run import Bill
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.exchange import play_round
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import make_client_app
from hashfed.engines.flower.node import NodeState
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.server_round import ServerRound
from hashfed.errors import HashfedError
from hashfed.federated import protocols
from hashfed.federated.checks import Limits
from hashfed.federated.codec import Message
from hashfed.federated.protocols import ClientSide, Down, Exchange, Received, ServerSide, Step, Up
from hashfed.federated.protocols.on_demand import STEPS
from hashfed.retrieval import build_index
from hashfed.tasks.federated_data import Client
from loopback import LoopbackGrid, partitions
from small import prepare, small_config, small_data


@final
@dataclass(frozen=True)
class Limit(Message, kind="limit"):
    """The server asks how long sentences are, up to a most."""

    round: int
    most: int


@final
@dataclass(frozen=True)
class Lengths(Message, kind="lengths"):
    """How many sentences of each length (most + 1,) a client has."""

    round: int
    counts: np.ndarray


MOST = 6


def count(client: ClientSide, got: Received) -> Lengths:
    limit = protocols.take(got, Limit)
    lengths = np.minimum((client.examples.targets > 0).sum(1), limit.most)
    return Lengths(client.round, np.bincount(lengths, minlength=limit.most + 1).astype(np.int32))


def check_limit(client: ClientSide, message: Limit) -> None:
    if message.round != client.round:
        raise HashfedError(f"round = {message.round}: must be {client.round}")


def check_lengths(server: ServerSide, exchange: Exchange, message: Lengths, limits: Limits) -> None:
    if message.round != server.round or message.counts.shape != (MOST + 1,):
        raise HashfedError(f"counts of shape {message.counts.shape}: must be {(MOST + 1,)}")


LENGTHS = Step(
    "lengths",
    (
        Down(
            Limit, lambda server, _: Limit(server.round, MOST), check_limit, lambda of: Limit(of.round, MOST)
        ),
    ),
    Up(Lengths, count, check_lengths, lambda of: Lengths(of.round, np.zeros(MOST + 1, np.int32))),
)
DECLARE, *OTHERS = STEPS
PLACES = (DECLARE, LENGTHS, *OTHERS), (DECLARE, OTHERS[0], LENGTHS, *OTHERS[1:])
"""Before the keys, and between keys and training, where the client keeps what it was sent."""


@pytest.fixture(params=PLACES, ids=["before the keys", "after the keys"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Step, ...]:
    found: tuple[Step, ...] = request.param
    monkeypatch.setitem(protocols.PROTOCOLS, "on-demand", found)
    return found


def test_a_step_of_ones_own_is_simulated_and_played_over_a_network(
    texts: Path, tmp_path: Path, steps: tuple[Step, ...]
) -> None:
    """By the same bytes, which the cost report has said before."""
    (tmp_path / "texts.txt").write_text("w1 w2 w3 w4\nw7 w8 w9\nw3 w2\n")
    data = small_data(texts)
    config = small_config(texts, cohort=1, rounds=2, client={"examples": 100}, flower={"clients": 1})
    grid = LoopbackGrid(make_client_app(), [{"texts": str(tmp_path), "client": "phone"}])
    with FlowerRounds(grid, config, data) as rounds:
        before = rounds.state.parameters.clone()
        record = rounds.run_round()
        digest = str(grid.contexts[1].state.config_records["setup"]["digest"])
        phone = Client("phone", NodeState(grid.contexts[1], digest).client("phone").examples)
    kinds = [kind for step in steps for kind in (*(down.kind.kind for down in step.down), step.up.kind.kind)]
    assert record.failed == {}
    assert list(record.reports[0].bytes) == kinds
    index = build_index(before.rows, config.retrieval, data.label_counts, config.seed)
    sent: list[Message] = []
    played = play_round(
        ServerRound.of(config, before, index, 1),
        ClientRound(config, build_model(config), phone, 1, before.sizes),
        sent.append,
    )
    assert [message.kind for message in sent] == kinds
    assert played.report.bytes == record.reports[0].bytes
    assert played.update.loss == record.loss
    assert next(message for message in sent if isinstance(message, Lengths)).counts.sum() == 3

    bill = Bill(config, data, measure=False)
    assert bill.cost(config, phone).bytes == played.report.bytes
    messages = [m for _, m in grid.sent] + [m for _, m in grid.answered]
    travelled = [records.size(m.content) for m in messages if m.metadata.message_type == "query.lengths"]
    assert list(bill.over_flower(config, phone)["lengths"].values()) == travelled
    assert protocols.ways() | {"limit": "down", "lengths": "up"} == protocols.ways()


def test_the_model_is_that_of_before(
    texts: Path, steps: tuple[Step, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = small_config(texts), small_data(texts)
    found = []
    for known in (steps, STEPS):
        monkeypatch.setitem(protocols.PROTOCOLS, "on-demand", known)
        with Simulation(config, data) as simulation:
            found.append(simulation.run_round())
    ours, usual = found
    assert ours.loss == usual.loss
    for mine, its in zip(ours.reports, usual.reports, strict=True):
        assert {kind: mine.bytes[kind] for kind in its.bytes} == its.bytes
        assert set(mine.bytes) - set(its.bytes) == {"limit", "lengths"}


@pytest.mark.usefixtures("steps")
def test_an_answer_that_does_not_fit_is_its_clients_fault(texts: Path) -> None:
    def shorten(node: int, reply: FlowerMessage) -> FlowerMessage:
        if node == 2 and reply.has_content() and "head" in reply.content:
            parcel = records.unpack(reply.content)
            for messages in parcel.messages.values():
                if isinstance(lengths := messages.get("lengths"), Lengths):
                    messages["lengths"] = replace(lengths, counts=lengths.counts[1:])
            for name, record in records.pack(parcel).items():
                reply.content[name] = record
        return reply

    config, data = prepare(texts)
    with FlowerRounds(LoopbackGrid(make_client_app(), partitions(texts), shorten), config, data) as rounds:
        record = rounds.run_round()
        theirs = {name for name in record.failed if rounds._members.node(name) == 2}
    assert record.failed == dict.fromkeys(theirs, "counts of shape (6,): must be (7,)")
    assert theirs
    assert len(record.reports) + len(theirs) == config.cohort
