from pathlib import Path

import pytest
import torch

from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.exchange import play_round
from hashfed.engines.server_round import ServerRound
from hashfed.federated import wire
from hashfed.federated.compression import expand
from hashfed.federated.messages import Message, SelectedRows, Update, Welcome
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from small import small_config, small_data


@pytest.mark.parametrize("budget", [1.0, 0.6, 0.4])
def test_claimed_bytes_are_those_of_the_messages_sent(texts: Path, budget: float) -> None:
    data, config = small_data(texts), small_config(texts, selection={"budget": budget})
    model = build_model(config)
    parameters = model.init({"output": data.size}, stream(0, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
    sent: list[Message] = []
    there = ServerRound.of(config, parameters, index, 1)
    here = ClientRound(config, model, data.train[0], 1, parameters.sizes)
    report = play_round(there, here, sent.append).report
    kinds = ["declare", "welcome", "keys", "rows", "update"]
    assert [message.kind for message in sent] == (kinds if budget < 1 else ["welcome", "rows", "update"])
    assert report.bytes == {message.kind: len(wire.encode(message)) for message in sent}


@pytest.mark.parametrize("budget", [1.0, 0.6])
@pytest.mark.parametrize("rows", ["none", "float16", "bfloat16"])
@pytest.mark.parametrize("updates", ["none", "float16", "bfloat16", "int8"])
def test_compressed_messages_travel_and_an_expanded_update_returns(
    texts: Path, budget: float, rows: str, updates: str
) -> None:
    compression = {"rows": rows, "updates": updates}
    data, config = (
        small_data(texts),
        small_config(texts, selection={"budget": budget}, compression=compression),
    )
    model = build_model(config)
    parameters = model.init({"output": data.size}, stream(0, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
    sent: list[Message] = []
    there = ServerRound.of(config, parameters, index, 1)
    played = play_round(there, ClientRound(config, model, data.train[0], 1, parameters.sizes), sent.append)
    update, report = played.update, played.report
    assert report.bytes == {message.kind: len(wire.encode(message)) for message in sent}
    down = torch.float32 if rows == "none" else getattr(torch, rows)
    up = torch.float32 if updates == "none" else getattr(torch, updates)
    for message in sent:
        if isinstance(message, Welcome):
            assert {value.dtype for value in (message.own_rows, *message.body.values())} == {down}
        if isinstance(message, SelectedRows):
            assert message.rows.dtype == down
            assert message.log_weight is None or message.log_weight.dtype == torch.float32
        if isinstance(message, Update):
            assert {value.dtype for value in (message.rows, *message.body.values())} == {up}
            assert bool(message.scales) == (updates == "int8")
            assert_equal(update, expand(message))
    assert {value.dtype for value in (update.rows, *update.body.values())} == {torch.float32}


def test_no_compression_makes_no_copies(texts: Path) -> None:
    data, config = small_data(texts), small_config(texts, retrieval={"method": "full"})
    model = build_model(config)
    parameters = model.init({"output": data.size}, stream(0, "init"))
    sent: list[Message] = []
    index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
    there = ServerRound.of(config, parameters, index, 1)
    here = ClientRound(config, model, data.train[0], 1, parameters.sizes)
    update = play_round(there, here, sent.append).update
    welcome, selected, message = sent
    assert isinstance(welcome, Welcome)
    assert isinstance(selected, SelectedRows)
    assert isinstance(message, Update)
    assert selected.rows is parameters.rows
    assert welcome.body is parameters.body
    assert expand(selected).rows is parameters.rows
    assert update.rows is message.rows


def assert_equal(one: Update, other: Update) -> None:
    assert one.numbers() == other.numbers()
    ones, others = one.tensors(), other.tensors()
    assert set(ones) == set(others)
    assert all(torch.equal(value, others[name]) for name, value in ones.items())


def test_flops_by_hand(texts: Path) -> None:
    data, config = small_data(texts), small_config(texts, retrieval={"method": "full"})
    model = build_model(config)
    parameters = model.init({"output": data.size}, stream(0, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
    there = ServerRound.of(config, parameters, index, 1)
    report = play_round(there, ClientRound(config, model, data.train[0], 1, parameters.sizes)).report
    sentences = min(6, len(data.train[0].examples))
    body = model.body_flops(report.predictions, sentences, 6)
    assert report.flops == 3 * (body + 2 * report.predictions * 8 * data.size)
    assert report.parameters == sum(value.numel() for value in parameters.named().values())
