from pathlib import Path

import pytest

from hashfed.engines import build_model
from hashfed.engines.exchange import play_round
from hashfed.federated import wire
from hashfed.federated.messages import Message
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from small import small_config, small_data


@pytest.mark.parametrize("budget", [1.0, 0.6, 0.4])
def test_claimed_bytes_are_those_of_the_messages_sent(texts: Path, budget: float) -> None:
    data, config = small_data(texts), small_config(texts, selection={"budget": budget})
    model = build_model(config)
    parameters = model.init(len(data.vocabulary), stream(0, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
    sent: list[Message] = []
    _, report = play_round(config, model, parameters, index, data.train[0], 1, sent.append)
    kinds = ["declare", "welcome", "keys", "rows", "update"]
    assert [message.kind for message in sent] == (kinds if budget < 1 else ["welcome", "rows", "update"])
    assert report.bytes == {message.kind: len(wire.encode(message)) for message in sent}


def test_flops_by_hand(texts: Path) -> None:
    data, config = small_data(texts), small_config(texts, retrieval={"method": "full"})
    model = build_model(config)
    parameters = model.init(len(data.vocabulary), stream(0, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
    _, report = play_round(config, model, parameters, index, data.train[0], 1)
    sentences = min(6, len(data.train[0].sentences))
    body = model.body_flops(report.predictions, sentences, 6)
    assert report.flops == 3 * (body + 2 * report.predictions * 8 * len(data.vocabulary))
    assert report.parameters == sum(value.numel() for value in parameters.named().values())
