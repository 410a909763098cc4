"""Rounds that leave a sum alone, over Flower's Grid: the simulator's bits, whoever drops out, and no more."""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message, UserConfig
from flwr.common.serde import message_from_proto, message_to_proto

from hashfed.config import Config
from hashfed.engines.client_round import ClientReport, ClientRound
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import FAILED, app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.flower.secrets import SECRETS
from hashfed.engines.local import simulator
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.network.exchanges import JOIN
from hashfed.engines.network.rounds import TooFewAnsweredError
from hashfed.engines.rounds import RoundRecord
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.messages import Common
from hashfed.federated.privacy.messages import PublicKeys, Survivors
from hashfed.runs.ledger import Ledger, Release
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import Interfere, LoopbackGrid, partitions
from small import small_config, small_data

pytestmark = pytest.mark.usefixtures("clock")

NODES, BAD = 8, 2
KEYS, SHARES, TRAIN, UNMASK = "query.keys", "query.shares", "train", "query.unmask"
State = dict[str, torch.Tensor]
Data = FederatedData[Vocabulary]


def prepare(texts: Path, flower: dict[str, object] | None = None, **groups: Any) -> tuple[Config, Data]:
    data = small_data(texts)
    settings: dict[str, object] = {
        "clients": len(data.train),
        "deadline": 1.0,
        "minimum_share": 0.1,
        "patience": 5,
    }
    usual: dict[str, Any] = {"retrieval": {"method": "frequency"}, "cohort": 9, "rounds": 3}
    usual["selection"] = {"delivery": "secure"}
    return small_config(texts, flower=settings | (flower or {}), **usual | groups), data


class Played:
    """Rounds on a grid of eight nodes, and the state after each."""

    def __init__(
        self,
        config: Config,
        data: Data,
        interfere: Interfere = lambda node, reply: reply,
        interrupt: Callable[[int, Message], None] = lambda node, message: None,
        nodes: list[UserConfig] | None = None,
        rounds: int = 3,
        fails: str = "",
    ) -> None:
        self.grid = LoopbackGrid(app, nodes or partitions(config.data.source, NODES), interfere, interrupt)
        self.records: list[RoundRecord] = []
        self.states: list[State] = []
        self.said: list[str] = []
        names = sorted(client.name for client in (*data.train, *data.held_out))
        self.theirs = set(names[BAD - 1 :: NODES])
        """Clients of the bad node."""
        with FlowerRounds(self.grid, config, data, self.said.append) as engine:
            self.start = kept(engine.state.tensors())
            for _ in range(rounds):
                if fails:
                    with pytest.raises(TooFewAnsweredError, match=fails):
                        engine.run_round()
                else:
                    self.records.append(engine.run_round())
                self.states.append(kept(engine.state.tensors()))

    @property
    def kinds(self) -> list[str]:
        """Types of the messages, in order, once for each run of one type."""
        found = [message.metadata.message_type for _, message in self.grid.sent]
        return [kind for at, kind in enumerate(found) if at == 0 or found[at - 1] != kind]

    def names(self, round: int) -> list[str]:
        return [report.client for report in self.records[round - 1].reports]


def kept(tensors: Mapping[str, torch.Tensor]) -> State:
    return {name: value.clone() for name, value in tensors.items()}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def told(report: ClientReport) -> dict[str, object]:
    """All of a report but the clock."""
    return {name: value for name, value in vars(report).items() if name not in ("own", "seconds")}


def plain_sums(
    config: Config, data: Data, cohorts: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> list[State]:
    """States after rounds of these clients in the simulator, without masks."""
    config = config.model_copy(update={"secure": config.secure.model_copy(update={"masks": False})})
    places = {client.name: place for place, client in enumerate(data.train)}
    with monkeypatch.context() as patch, Simulation(config, data) as simulation:
        patch.setattr(
            simulator, "draw_cohort", lambda _, number, __: [places[n] for n in cohorts[number - 1]]
        )
        found = []
        for _ in cohorts:
            simulation.run_round()
            found.append(kept(simulation.state.tensors()))
        return found


GROUPS: list[dict[str, Any]] = [
    {},
    {"retrieval": {"method": "full"}, "server": {"clip": 0.05}, "secure": {"rows": "common"}},
    {"retrieval": {"method": "random"}, "server": {"weighting": "uniform"}, "secure": {"rows": "common"}},
]


@pytest.mark.parametrize("groups", GROUPS, ids=["frequency", "full", "random"])
def test_flower_is_the_simulator_bit_for_bit(texts: Path, groups: dict[str, Any]) -> None:
    config, data = prepare(texts, **groups)
    with Simulation(config, data) as simulation:
        expected = [simulation.run_round() for _ in range(3)]
        state = kept(simulation.state.tensors())
        numbers, metrics = dict(simulation.state.numbers()), simulation.evaluate()
    grid = LoopbackGrid(app, partitions(texts))
    with FlowerRounds(grid, config, data) as engine:
        for one in expected:
            found = engine.run_round()
            assert (found.loss, found.failed, found.clipped) == (one.loss, {}, one.clipped)
            for ours, theirs in zip(found.reports, one.reports, strict=True):
                assert told(ours) == told(theirs)
        assert same(kept(engine.state.tensors()), state)
        assert engine.state.numbers() == numbers
        assert engine.evaluate() == metrics


def test_the_order_of_answers_changes_nothing(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = prepare(texts, rounds=2)
    rng = np.random.default_rng(0)
    grid = LoopbackGrid(app, partitions(texts, NODES), delay=lambda node, reply: float(rng.uniform(0, 0.4)))
    with FlowerRounds(grid, config, data) as engine:
        found = [engine.run_round() for _ in range(2)]
        state = kept(engine.state.tensors())
    assert [record.failed for record in found] == [{}, {}]
    cohorts = [[report.client for report in record.reports] for record in found]
    assert same(state, plain_sums(config, data, cohorts, monkeypatch)[-1])


def test_an_answer_that_comes_late_is_not_used(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = prepare(texts)
    late: list[str] = []

    def delay(node: int, reply: Message) -> float:
        if node == BAD and reply.metadata.message_type == TRAIN and not late:
            late.append(TRAIN)
            return 1.5
        return 0.0

    grid = LoopbackGrid(app, partitions(texts, NODES), delay=delay)
    with FlowerRounds(grid, config, data) as engine:
        found = [engine.run_round() for _ in range(3)]
        state = kept(engine.state.tensors())
    assert found[0].failed
    assert found[2].failed == {}
    cohorts = [[report.client for report in record.reports] for record in found]
    assert same(state, plain_sums(config, data, cohorts, monkeypatch)[-1])


def test_a_resumed_run_has_the_same_bits(texts: Path) -> None:
    """The next round's keys and shares are lost with the server: it asks for them anew."""
    config, data = prepare(texts)
    with Simulation(config, data) as simulation:
        for _ in range(3):
            simulation.run_round()
        expected = kept(simulation.state.tensors())
    grid = LoopbackGrid(app, partitions(texts))
    with FlowerRounds(grid, config, data) as engine:
        engine.run_round()
        tensors, numbers = kept(engine.state.tensors()), dict(engine.state.numbers())
        engine.run_round()  # the server dies before it has saved this one
    with FlowerRounds(grid, config, data) as engine:
        engine.state.restore(tensors, numbers)
        assert [engine.run_round().failed for _ in range(2)] == [{}, {}]
        assert same(kept(engine.state.tensors()), expected)


def test_a_round_waits_twice(texts: Path) -> None:
    """Its keys and shares ride on the round before: only the first round asks for them by themselves."""
    config, data = prepare(texts)
    played = Played(config, data, nodes=partitions(texts, 1))
    assert played.kinds == ["query.join", KEYS, SHARES, *[TRAIN, UNMASK] * 3]


def test_nodes_without_a_client_in_a_round_are_asked_by_themselves_for_the_next(texts: Path) -> None:
    config, data = prepare(texts, cohort=4)
    played = Played(config, data, rounds=2)
    assert played.kinds[:3] == ["query.join", KEYS, SHARES]
    assert [record.failed for record in played.records] == [{}, {}]
    assert {KEYS, SHARES} <= set(played.kinds[3:]), "another node has a client in the second round"


@pytest.mark.parametrize("step", [KEYS, SHARES, TRAIN, UNMASK])
def test_a_node_that_stops_answering_costs_its_clients_alone(
    texts: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    config, data = prepare(texts)
    silent: list[bool] = []

    def interfere(node: int, reply: Message) -> Message | None:
        if node == BAD and reply.metadata.message_type == step and not silent:
            silent.append(True)
            return None
        return reply

    played = Played(config, data, interfere)
    first, second, third = played.records
    theirs = played.theirs
    assert silent
    everybody = {*played.names(1), *first.failed}
    assert len(everybody) == 9
    if step == UNMASK:
        assert first.failed == {}, "what it added is in the sum"
        assert any(
            "whose answer is in the sum: no answer to unmask within 1 s" in line for line in played.said
        )
    else:
        assert first.failed == dict.fromkeys(
            sorted(theirs & everybody), f"no answer to {step.removeprefix('query.')} within 1 s"
        )
        assert first.failed
    # It joins again without what it remembered of the next round.
    assert set(second.failed) <= theirs
    assert third.failed == {}
    expected = plain_sums(config, data, [played.names(round) for round in (1, 2, 3)], monkeypatch)
    assert [same(*states) for states in zip(played.states, expected, strict=True)] == [True] * 3


def test_what_rides_along_is_lost_with_its_node(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node goes off with the keys of the round to come, another one with its shares."""
    config, data = prepare(texts)
    gone = {2: TRAIN, 5: UNMASK}

    def interfere(node: int, reply: Message) -> Message | None:
        if gone.get(node) == reply.metadata.message_type:
            del grid.contexts[node], gone[node]
            return None
        return reply

    grid = LoopbackGrid(app, partitions(texts, NODES), interfere)
    with FlowerRounds(grid, config, data) as engine:
        found = [engine.run_round() for _ in range(2)]
        state = kept(engine.state.tensors())
    assert set(found[0].failed.values()) <= {
        "no answer to keys, train within 1 s",
        "no answer to train within 1 s",
    }
    assert len(found[0].failed) < len(found[1].failed)
    assert len(found[1].failed) + len(found[1].reports) == 9
    cohorts = [[report.client for report in record.reports] for record in found]
    assert same(state, plain_sums(config, data, cohorts, monkeypatch)[-1])


def test_a_cohort_that_has_lost_too_many_is_drawn_anew(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is lost with the keys of the round to come, of which all must answer: it begins by itself."""
    config, data = prepare(texts, {"minimum_share": 1.0})

    def interfere(node: int, reply: Message) -> Message | None:
        if node == BAD and reply.metadata.message_type == UNMASK:
            del grid.contexts[BAD]
            return None
        return reply

    grid = LoopbackGrid(app, partitions(texts, NODES), interfere)
    said: list[str] = []
    with FlowerRounds(grid, config, data, said.append) as engine:
        found = [engine.run_round() for _ in range(2)]
        state = kept(engine.state.tensors())
    assert [record.failed for record in found] == [{}, {}]
    assert not any("attempt" in line for line in said)
    kinds = [message.metadata.message_type for _, message in grid.sent]
    assert KEYS in kinds[kinds.index(UNMASK) :]
    cohorts = [[report.client for report in record.reports] for record in found]
    assert same(state, plain_sums(config, data, cohorts, monkeypatch)[-1])


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (KEYS, "clients of a sum under masks = 2: must be from 3"),
        (TRAIN, "vectors arrived of"),
        (UNMASK, "told their shares of its secret, must be at least 5"),
    ],
)
def test_a_round_without_a_sum_leaves_the_model_as_it_was(texts: Path, step: str, why: str) -> None:
    """Six of eight nodes go silent in each attempt; each attempt has fresh keys, and no sum is known."""
    config, data = prepare(texts, {"minimum_share": 1.0})

    def interfere(node: int, reply: Message) -> Message | None:
        return None if node > 2 and reply.metadata.message_type == step else reply

    played = Played(config, data, interfere, rounds=1, fails=why)
    assert same(played.states[0], played.start)
    assert sum("attempt" in line for line in played.said) == 3
    if step != UNMASK:
        assert UNMASK not in played.kinds, "nobody is asked to unmask"
    keys = [
        bytes(message.keys)
        for _, reply in played.grid.answered
        if reply.metadata.message_type == KEYS
        for messages in records.unpack(reply.content).messages.values()
        for message in messages.values()
        if isinstance(message, PublicKeys)
    ]
    assert len(keys) == len(set(keys)) > 2


def test_a_second_attempt_is_a_new_sum(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = prepare(texts, {"minimum_share": 1.0})
    silent: list[int] = []

    def interfere(node: int, reply: Message) -> Message | None:
        if reply.metadata.message_type == TRAIN and len(silent) < 1:
            silent.append(node)
            return None
        return reply

    played = Played(config, data, interfere, rounds=2)
    assert sum("attempt 1 of 3" in line for line in played.said) == 1
    assert [record.failed for record in played.records] == [{}, {}]
    expected = plain_sums(config, data, [played.names(1), played.names(2)], monkeypatch)
    assert [same(*states) for states in zip(played.states, expected, strict=True)] == [True] * 2


def test_a_sum_is_written_down_before_it_is_known(texts: Path, tmp_path: Path) -> None:
    """Each attempt that comes so far, but none of which nobody is asked to unmask it."""
    config, data = prepare(texts, {"minimum_share": 1.0}, rounds=2)
    silent = [TRAIN, UNMASK]

    def interfere(node: int, reply: Message) -> Message | None:
        if silent and reply.metadata.message_type == silent[0]:
            if node == NODES:
                del silent[0]
            return None
        return reply

    grid = LoopbackGrid(app, partitions(texts, NODES), interfere)
    said: list[str] = []
    with Ledger.open(tmp_path) as ledger, FlowerRounds(grid, config, data, said.append) as engine:
        engine.state.ledger = ledger
        found = [engine.run_round() for _ in range(2)]
    assert [record.failed for record in found] == [{}, {}]
    assert sum("attempt" in line for line in said) == 2
    releases = ledger.releases()
    assert [(entry.round, entry.asked, entry.summed) for entry in releases if isinstance(entry, Release)] == [
        (1, 9, 9),
        (1, 9, 9),
        (2, 9, 9),
    ]
    assert len(releases) == 3


def changed(step: str, change: Callable[[Any], Any]) -> Interfere:
    """The bad node's answers to a step, changed."""

    def interfere(node: int, reply: Message) -> Message:
        if node == BAD and reply.metadata.message_type == step:
            parcel = records.unpack(reply.content)
            for messages in parcel.messages.values():
                for kind, message in messages.items():
                    messages[kind] = change(message)
            for name, record in records.pack(parcel).items():
                reply.content[name] = record
        return reply

    return interfere


BROKEN: list[tuple[str, Callable[[Any], Any], str]] = [
    (KEYS, lambda message: replace(message, keys=message.keys[:1]), "keys = uint8"),
    (KEYS, lambda message: replace(message, round=2), "public-keys of round 2: must be of round 1"),
    (SHARES, lambda message: replace(message, session=message.session + 1), "of another session"),
    (TRAIN, lambda message: replace(message, vector=message.vector[:-1]), "must be uint8"),
    (TRAIN, lambda message: replace(message, vector=message.vector.astype(np.int64)), "must be uint8"),
    (TRAIN, lambda message: Survivors(1, message.session, message.session + 1), "which was not asked for"),
]


@pytest.mark.parametrize(("step", "change", "why"), BROKEN)
def test_an_answer_that_is_refused_costs_its_clients_alone(
    texts: Path, monkeypatch: pytest.MonkeyPatch, step: str, change: Callable[[Any], Any], why: str
) -> None:
    config, data = prepare(texts)
    played = Played(config, data, changed(step, change), rounds=1)
    (record,) = played.records
    theirs = played.theirs
    assert record.failed
    assert set(record.failed) <= theirs
    assert all(why in reason for reason in record.failed.values()), record.failed
    (expected,) = plain_sums(config, data, [played.names(1)], monkeypatch)
    assert same(played.states[0], expected)


def test_shares_that_are_none_of_what_was_committed_to_are_not_used(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = prepare(texts)
    played = Played(
        config, data, changed(UNMASK, lambda message: replace(message, shares=message.shares + 1)), rounds=1
    )
    assert played.records[0].failed == {}
    assert any("not what that committed to" in line for line in played.said)
    (expected,) = plain_sums(config, data, [played.names(1)], monkeypatch)
    assert same(played.states[0], expected)


def test_the_server_is_told_nothing_of_one_client(
    texts: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every answer: its kinds, its sizes, no reports, no seconds, and no text of a client that failed."""
    secret = "w17 w4 at home"
    contribute = ClientRound.contribute
    victims: list[str] = []

    def fail(self: ClientRound, message: Common) -> np.ndarray:
        if not victims:
            victims.append(self.client.name)
        if self.client.name == victims[0]:
            raise HashfedError(f"no room for {secret}") if self.round == 1 else ValueError(secret)
        return contribute(self, message)

    monkeypatch.setattr(ClientRound, "contribute", fail)
    config, data = prepare(texts, cohort=12)
    # A node for each client, so that every message has one client in it or two.
    played = Played(config, data, nodes=partitions(texts, 24))
    assert {reason for record in played.records for reason in record.failed.values()} <= {
        FAILED,
        "its node is gone",
    }
    assert played.records[0].failed == {victims[0]: FAILED}
    assert secret in caplog.text, "the node's own log"
    sizes: dict[str, set[int]] = defaultdict(set)
    for _, reply in played.grid.answered:
        assert secret.encode() not in message_to_proto(reply).SerializeToString()
        if reply.metadata.message_type == JOIN:
            continue
        assert set(reply.content.metric_records) == {"time"}, "no reports"
        assert reply.content.metric_records["time"] == {"seconds": 0.0}
        parcel = records.unpack(reply.content)
        assert set(parcel.problems.values()) <= {FAILED}
        for messages in parcel.messages.values():
            for kind, message in messages.items():
                sizes[kind].add(wire.size(message))
    assert set(sizes) == {"public-keys", "key-shares", "masked-vector", "unmasking"}
    # Of a kind all have one size in each round, whose roster may be smaller by a client that failed.
    assert [len(found) for found in sizes.values()] == [1] * 4


def test_sizes_of_answers_do_not_depend_on_the_data(texts: Path) -> None:
    """Not by a byte of what Flower serializes; nodes have a client each, with other texts and lengths."""
    config, data = prepare(texts, cohort=len(small_data(texts).train), rounds=1)
    played = Played(config, data, nodes=partitions(texts, 24), rounds=1)
    sizes = defaultdict(set)
    for _, reply in played.grid.answered:
        if reply.metadata.message_type != JOIN:
            name = records.unpack(reply.content).messages.popitem()[0]
            sizes[reply.metadata.message_type].add(records.size(reply.content) - len(name))
    assert {kind: len(found) for kind, found in sizes.items()} == dict.fromkeys(
        (KEYS, SHARES, TRAIN, UNMASK), 1
    )


def secrets_on(grid: LoopbackGrid) -> list[bytes]:
    """All that nodes keep of sums."""
    return [
        bytes(record["held"])  # type: ignore[arg-type]
        for context in grid.contexts.values()
        for key, record in context.state.config_records.items()
        if key.startswith(SECRETS)
    ]


def test_secrets_stay_on_their_node_and_are_forgotten(texts: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those of each step replace those of the step before; after the last one nothing is left."""
    config, data = prepare(texts, rounds=2)
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    steps: list[tuple[str, list[str]]] = []

    def interfere(node: int, reply: Message) -> Message:
        found = [json.loads(held) for held in secrets_on(grid)]
        steps.append((reply.metadata.message_type, [secrets["stage"] for secrets in found]))
        for secrets in found:
            seen.extend(text for text in (secrets["share_key"], secrets["mask_key"], secrets["seed"]) if text)
        return reply

    grid = LoopbackGrid(app, partitions(texts, 1), interfere)

    with FlowerRounds(grid, config, data) as engine:
        for _ in range(2):
            assert engine.run_round().failed == {}
    assert [(kind, sorted(set(found))) for kind, found in steps] == [
        (JOIN, []),
        (KEYS, ["advertised"]),
        (SHARES, ["shared"]),
        (TRAIN, ["advertised", "masked"]),
        (UNMASK, ["shared"]),
        (TRAIN, ["masked"]),
        (UNMASK, []),
    ]
    assert secrets_on(grid) == []
    assert len(set(seen)) >= 2 * 9 * 3
    travelled = [message_to_proto(message).SerializeToString() for _, message in (*grid.sent, *grid.answered)]
    for text in set(seen):
        assert text not in caplog.text
        for data_sent in travelled:
            assert bytes.fromhex(text) not in data_sent
            assert text.encode() not in data_sent


@pytest.mark.parametrize("step", [SHARES, TRAIN, UNMASK])
def test_a_step_is_answered_once(texts: Path, step: str) -> None:
    """The same question again gets no answer, and the round goes on with what was answered first."""
    config, data = prepare(texts, rounds=1)
    asked: list[Message] = []
    refused: list[str] = []

    def interrupt(node: int, message: Message) -> None:
        if message.metadata.message_type == step and node == BAD:
            asked.append(message_from_proto(message_to_proto(message)))

    def interfere(node: int, reply: Message) -> Message:
        if reply.metadata.message_type == step and node == BAD:
            assert all(records.unpack(reply.content).messages.values())
            again = records.unpack(app(asked[0], grid.contexts[BAD]).content)
            assert again.messages == {}
            refused.extend(again.problems.values())
        return reply

    grid = LoopbackGrid(app, partitions(texts, NODES), interfere, interrupt)
    with FlowerRounds(grid, config, data) as engine:
        assert engine.run_round().failed == {}
    assert refused
    assert set(refused) == {FAILED}


def test_a_node_that_forgot_is_left_out(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started anew between two steps: its neighbours make up for its masks."""
    config, data = prepare(texts, rounds=1)

    def interrupt(node: int, message: Message) -> None:
        if node == BAD and message.metadata.message_type == TRAIN:
            grid.contexts[BAD].state.clear()

    grid = LoopbackGrid(app, partitions(texts, NODES), interrupt=interrupt)
    with FlowerRounds(grid, config, data) as engine:
        record = engine.run_round()
        state = kept(engine.state.tensors())
    assert set(record.failed.values()) == {"this node was started anew and has not joined the run yet"}
    (expected,) = plain_sums(config, data, [[report.client for report in record.reports]], monkeypatch)
    assert same(state, expected)


def test_a_node_takes_part_in_no_sum_of_fewer_than_it_demands(
    texts: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config, data = prepare(texts)
    nodes = partitions(texts, NODES)
    nodes[BAD - 1] = {**nodes[BAD - 1], "least-clients": 10}
    played = Played(config, data, nodes=nodes, rounds=1)
    failed = played.records[0].failed
    assert failed
    assert set(failed) <= played.theirs
    assert set(failed.values()) == {FAILED}
    assert "a roster of 9 clients: must have at least 10" in caplog.text
    (expected,) = plain_sums(config, data, [played.names(1)], monkeypatch)
    assert same(played.states[0], expected)


@pytest.mark.parametrize("least", [2, True, "many"])
def test_wrong_demands(texts: Path, least: bool | int | str) -> None:
    config, data = prepare(texts)
    nodes: list[UserConfig] = [{**node, "least-clients": least} for node in partitions(texts, 1)]
    with (
        FlowerRounds(LoopbackGrid(app, nodes), config, data) as engine,
        pytest.raises(
            HashfedError, match=r"node-config: least-clients = .*: must be an integer from 3 to 16384"
        ),
    ):
        engine.run_round()


def test_a_server_that_learns_sums_alone_is_not_told_why_a_node_cannot_join(
    texts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "w17.txt").write_bytes("w17 w4".encode("utf-16-le"))
    config, data = prepare(texts)
    grid = LoopbackGrid(app, [{"texts": str(tmp_path), "client": "ann"}])
    said: list[str] = []
    with FlowerRounds(grid, config, data, said.append) as engine, pytest.raises(HashfedError, match=FAILED):
        engine.run_round()
    assert f"node 1 could not join: {FAILED}" in said
    assert "w17" in caplog.text
    assert not [reply for _, reply in grid.answered if b"w17" in message_to_proto(reply).SerializeToString()]


def test_sums_without_masks_are_for_the_simulator(texts: Path) -> None:
    config, data = prepare(texts, secure={"masks": False})
    with pytest.raises(HashfedError, match=r"^secure.masks = false: must be true over a network"):
        FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data)
