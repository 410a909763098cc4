"""A client that may hold fewer rows than the configuration says, and clients at the limits of their data."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from flwr.app import Message

from exchanges import TRAIN
from hashfed.config import Config, make_config
from hashfed.data import ClientTexts
from hashfed.engines.budget import device_budget
from hashfed.engines.client_round import ClientRound
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import app, make_client_app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.network.round_play import client_limits
from hashfed.errors import HashfedError
from hashfed.federated.checks import ModelShape, check_declare
from hashfed.federated.messages import Declare, SelectedRows, Update
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_word.clients import encode_client
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import SPECIAL, Vocabulary
from loopback import LoopbackGrid, partitions
from small import prepare, small_config, small_data

ALL = 44
"""Rows of the small model; its configured budget is 26."""


def budgets(size: int) -> list[int]:
    return [1, 5, 20, 25, 26, 27, size, 10**9]


def mixed(monkeypatch: pytest.MonkeyPatch, config: Config, budget: int) -> None:
    """Every second client of a data set can hold ``budget`` rows."""

    def own(self: ClientRound) -> int:
        odd = int(self.client.name.removeprefix("c")) % 2 == 1
        return budget if odd else device_budget(config, self.size)

    monkeypatch.setattr(ClientRound, "budget", property(own))


VARIANTS: list[dict[str, object]] = [
    {"retrieval": {"method": "query-centroids"}},
    {"retrieval": {"method": "frequency"}, "selection": {"sampling": "top", "oversample": 1.5}},
    {
        "retrieval": {"method": "simhash-union"},
        "selection": {"sampling": "top", "oversample": 2, "tail": 0.5},
    },
    {"retrieval": {"method": "exact"}, "client": {"own_rows": "truncate"}},
    {"retrieval": {"method": "frequency"}, "selection": {"delivery": "broadcast", "max_rows": 22}},
]


@pytest.mark.parametrize("groups", VARIANTS, ids=lambda groups: str(sorted(groups["retrieval"].values())))
@pytest.mark.parametrize("budget", budgets(ALL))
def test_a_client_with_another_budget_than_the_others(
    texts: Path, monkeypatch: pytest.MonkeyPatch, groups: dict[str, object], budget: int
) -> None:
    """It holds no more rows than both sides allow, beyond its own ones; its update is accepted."""
    data = small_data(texts)
    config = small_config(texts, cohort=9, rounds=1, flower={"clients": len(data.train)}, **groups)
    mixed(monkeypatch, config, budget)
    configured = device_budget(config, ALL)
    with Simulation(config, data) as simulation:
        expected = simulation.run_round()
        parameters = simulation.state.parameters.clone()
    grid = LoopbackGrid(app, partitions(texts))
    with FlowerRounds(grid, config, data) as engine:
        found = engine.run_round()
        assert found.failed == {}
        assert found.loss == expected.loss
        for name, value in engine.state.parameters.named().items():
            assert torch.equal(value, parameters.named()[name])
    for one, other in zip(found.reports, expected.reports, strict=True):
        odd = int(one.client.removeprefix("c")) % 2 == 1
        agreed = min(budget, configured) if odd else configured
        assert one.rows == other.rows == max(agreed, one.own_rows)
        assert one.bytes == other.bytes
    told = [
        (name, cast(SelectedRows, kinds["rows"]).budget)
        for _, message in grid.sent
        if message.metadata.message_type == TRAIN
        for name, kinds in records.unpack(message.content).messages.items()
    ]
    for name, said in told:
        odd = int(name.removeprefix("c")) % 2 == 1
        assert said == (min(budget, configured) if odd else configured)


@pytest.mark.parametrize("method", ["frequency", "query-centroids"])
@pytest.mark.parametrize("more", [-1, 1])
def test_an_update_of_another_budget_than_the_declared_one_is_refused(
    texts: Path, monkeypatch: pytest.MonkeyPatch, method: str, more: int
) -> None:
    """Node 2's clients declare 20 rows, are sent 30, and train on one more or less than agreed."""
    config, data = prepare(texts)
    selection = {"sampling": "top", "oversample": 1.5} if method == "frequency" else {}
    flower = config.flower.model_dump()
    config = small_config(texts, cohort=9, flower=flower, retrieval={"method": method}, selection=selection)
    monkeypatch.setattr(ClientRound, "budget", 20)

    def interfere(node: int, reply: Message) -> Message:
        if node == 2 and reply.metadata.message_type == TRAIN:
            parcel = records.unpack(reply.content)
            for kinds in parcel.messages.values():
                if "update" in kinds:
                    kinds["update"] = resized(cast(Update, kinds["update"]), more)
            for name, record in records.pack(parcel).items():
                reply.content[name] = record
        return reply

    with FlowerRounds(LoopbackGrid(app, partitions(texts), interfere), config, data) as engine:
        record = engine.run_round()
    assert record.failed
    # Oversampled rows are sent and dropped; drawn ones are all trained on, and no other row was sent.
    reasons = ["rows: from ", "was not sent to this client"]
    assert all(any(reason in text for reason in reasons) for text in record.failed.values()), record.failed


def resized(update: Update, more: int) -> Update:
    """With one row more, or one less."""
    assert update.ids is not None
    if more < 0:
        return replace(update, ids=update.ids[:-1], rows=update.rows[:-1])
    free = np.setdiff1d(np.arange(ALL), update.ids)[:1]
    ids = np.concatenate([update.ids, free]).astype(np.int32)
    order = np.argsort(ids)
    return replace(update, ids=ids[order], rows=torch.cat([update.rows, torch.zeros(1, 8)])[order])


@pytest.mark.parametrize("change", [-1, 1, 10**6])
def test_a_server_that_speaks_of_another_budget_is_refused(
    texts: Path, monkeypatch: pytest.MonkeyPatch, change: int
) -> None:
    config, data = prepare(texts, patience=1)

    def interrupt(node: int, message: Message) -> None:
        if message.metadata.message_type == TRAIN and node == 2:
            parcel = records.unpack(message.content)
            for kinds in parcel.messages.values():
                selected = cast(SelectedRows, kinds["rows"])
                kinds["rows"] = replace(selected, budget=selected.budget + change)
            for name, record in records.pack(parcel).items():
                message.content[name] = record

    with FlowerRounds(LoopbackGrid(app, partitions(texts), interrupt=interrupt), config, data) as engine:
        record = engine.run_round()
    assert record.failed
    assert set(record.failed.values()) == {f"budget = {26 + change}: must be 26, as was declared"}


def limits_of(config: Config) -> tuple[int, int]:
    limits = client_limits(config)
    return limits.own, limits.predictions


def encoded(config: Config, texts: list[list[str]], words: list[str]) -> Client:
    texts_of_ann = ClientTexts("ann", [" ".join(text) for text in texts])
    client = encode_client(texts_of_ann, Vocabulary(tuple(words)), NextWordSettings.of(config.data))
    assert client is not None
    return client


WORDS = [f"w{number}" for number in range(100)]


@pytest.mark.parametrize(
    ("length", "sentences", "tokens", "vocabulary", "texts"),
    [
        (6, 3, 100, 100, [6, 6, 6]),  # whole sentences: no end, but the beginning
        (6, 3, 100, 100, [6, 6, 5]),
        (6, 3, 100, 100, [5, 5, 5]),
        (6, 3, 100, 17, [6, 6, 6]),  # all words, OOV, BOS, EOS
        (1, 4, 100, 100, [1, 1, 1, 1]),
        (1, 4, 3, 100, [1, 1, 1]),
        (6, 10, 8, 100, [1, 1, 1, 1, 1, 1, 1, 1]),  # as many ends as words
        (6, 10, 8, 100, [6, 2]),
        (2, 3, 4, 100, [2, 1, 1]),
    ],
)
def test_no_client_is_beyond_the_limits(
    length: int, sentences: int, tokens: int, vocabulary: int, texts: list[int]
) -> None:
    config = make_config(
        {
            "data": {"sentence_length": length, "tokens_per_client": tokens, "vocabulary": vocabulary},
            "client": {"examples": sentences},
        }
    )
    own, predictions = limits_of(config)
    words = iter(WORDS)
    client = encoded(config, [[next(words) for _ in range(count)] for count in texts], WORDS[:vocabulary])
    assert len(client.examples) <= sentences
    assert len(client.examples.own(OUTPUT, INPUT)) <= own
    assert client.examples.weight <= predictions


@pytest.mark.parametrize(
    ("length", "sentences", "tokens", "vocabulary"),
    [(6, 3, 100, 100), (6, 3, 7, 100), (1, 4, 100, 100), (1, 4, 3, 100), (2, 3, 4, 100), (3, 2, 5, 4)],
)
def test_the_limits_are_reached(length: int, sentences: int, tokens: int, vocabulary: int) -> None:
    """By some client, of all that there can be: no number is too large either."""
    config = make_config(
        {
            "data": {"sentence_length": length, "tokens_per_client": tokens, "vocabulary": vocabulary},
            "client": {"examples": sentences},
        }
    )
    most_own = most_predictions = 0
    for counts in np.ndindex(*[length + 1] * sentences):
        if 0 < sum(counts) <= tokens:
            words = iter(WORDS)
            texts = [[next(words) for _ in range(count)] for count in counts if count]
            found = encoded(config, texts, WORDS[:vocabulary]).examples
            most_own = max(most_own, len(found.own(OUTPUT, INPUT)))
            most_predictions = max(most_predictions, found.weight)
    assert limits_of(config) == (most_own, most_predictions)


def test_one_more_than_the_limit_is_refused() -> None:
    config = make_config({"data": {"sentence_length": 6, "vocabulary": 100}, "client": {"examples": 3}})
    size = 100 + len(SPECIAL)
    shape, limits = ModelShape({"output": (size, 8)}, {}), client_limits(config)
    assert (limits.own, limits.predictions) == (19, 18)
    check_declare(Declare(1, np.arange(19, dtype=np.int32), 5), 1, shape, limits)
    with pytest.raises(HashfedError, match="own: 20 rows: at most 19 can be needed"):
        check_declare(Declare(1, np.arange(20, dtype=np.int32), 5), 1, shape, limits)


@pytest.mark.parametrize(("more", "failed"), [(0, False), (1, True)])
def test_the_weight_of_a_full_client_is_the_limit(texts: Path, more: int, failed: bool) -> None:
    """Clients whose sentences are all whole are as heavy as a client can be; one more is refused."""
    data = small_data(texts)
    config = small_config(texts, cohort=9, flower={"clients": len(data.train), "minimum_share": 0.1})
    config = make_config(config.model_dump() | {"client": {"examples": 2}})
    full = encoded(config, [WORDS[:6], WORDS[6:12]], WORDS[:40])
    everybody = FederatedData(
        data.names,
        tuple(Client(client.name, full.examples) for client in data.train),
        data.held_out,
        data.label_counts,
    )

    def read(*_: object) -> list[ClientTexts]:
        return [
            ClientTexts(client.name, [" ".join(WORDS[:6]), " ".join(WORDS[6:12])]) for client in data.train
        ]

    def interfere(node: int, reply: Message) -> Message:
        if more and "0.report" in reply.content and reply.metadata.message_type == TRAIN:
            parcel = records.unpack(reply.content)
            name = min(name for name, kinds in parcel.messages.items() if "update" in kinds)
            update = cast(Update, parcel.messages[name]["update"])
            parcel.messages[name]["update"] = replace(update, weight=update.weight + more)
            for key, record in records.pack(parcel).items():
                reply.content[key] = record
        return reply

    grid = LoopbackGrid(make_client_app(read), [{"x": 1}], interfere)
    with FlowerRounds(grid, config, everybody) as engine:
        record = engine.run_round()
    assert bool(record.failed) is failed
    assert {report.predictions for report in record.reports} == {client_limits(config).predictions} == {12}
    if failed:
        assert set(record.failed.values()) == {"weight = 13: must be from 1 to 12"}
