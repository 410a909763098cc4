from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashfed.engines import device_memory
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound, draw_examples, drawn_predictions
from hashfed.engines.device_memory import measure_device_memory
from hashfed.engines.exchange import play_round
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.server_round import ServerRound
from hashfed.federated import client as client_side
from hashfed.federated import wire
from hashfed.federated.messages import ClientKeys, Message, SelectedRows
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from small import small_config, small_data


def test_memory_of_a_fresh_client_process(texts: Path) -> None:
    data = small_data(texts)
    config = small_config(texts)
    with Simulation(config, data) as simulation:
        found = measure_device_memory(config, simulation.model, data, simulation.state.parameters)
    assert 20e6 < found["memory_baseline"] < found["memory_peak"] < 2e9


@pytest.mark.usefixtures("probed")
@pytest.mark.parametrize("delivery", ["broadcast", "pre-generated"])
def test_memory_of_a_client_that_selects_by_itself(texts: Path, delivery: str) -> None:
    data = small_data(texts)
    config = small_config(texts, retrieval={"method": "simhash-collisions"}, selection={"delivery": delivery})
    with Simulation(config, data) as simulation:
        found = measure_device_memory(config, simulation.model, data, simulation.state.parameters)
    assert 20e6 < found["memory_baseline"] < found["memory_peak"] < 2e9


@pytest.mark.usefixtures("probed")
def test_memory_of_compressed_messages(texts: Path) -> None:
    data = small_data(texts)
    compression = {"rows": "bfloat16", "updates": "int8"}
    config = small_config(texts, compression=compression)
    with Simulation(config, data) as simulation:
        found = measure_device_memory(config, simulation.model, data, simulation.state.parameters)
    assert 20e6 < found["memory_baseline"] < found["memory_peak"] < 2e9


def test_a_client_that_sends_a_sketch_alone_hashes_in_the_fresh_process(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its method asks for no keys, but the sketch of its queries is made of a pass over its data."""
    data = small_data(texts)
    config = small_config(
        texts, retrieval={"method": "frequency"}, selection={"points": "sketch", "extra": 3}
    )
    model = build_model(config)
    parameters = model.init({"output": data.size}, stream(0, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
    client = data.train[0]

    def keep(message: Message) -> None:
        (tmp_path / message.kind).write_bytes(wire.encode(message))

    there = ServerRound.of(config, parameters, index, device_memory.PROBED_ROUND)
    sizes = parameters.sizes
    play_round(there, ClientRound(config, model, client, device_memory.PROBED_ROUND, sizes), keep)
    hashed: list[ClientKeys] = []
    hash_queries = client_side.hash_queries

    def note(*arguments: Any) -> ClientKeys:
        hashed.append(hash_queries(*arguments))
        return hashed[-1]

    monkeypatch.setattr(client_side, "hash_queries", note)
    device_memory._play(ClientRound(config, model, client, device_memory.PROBED_ROUND, sizes), tmp_path)
    selected = wire.decode((tmp_path / "rows").read_bytes())
    assert isinstance(selected, SelectedRows)
    assert selected.planes is not None
    (keys,) = hashed
    sent = wire.decode((tmp_path / "keys").read_bytes())
    assert isinstance(sent, ClientKeys)
    assert keys.keys == sent.keys == {}
    np.testing.assert_array_equal(keys.sketch["codes"], sent.sketch["codes"])


@pytest.mark.parametrize("client", [{"examples": 4}, {"examples": 100}, {"own_rows": "truncate"}], ids=str)
def test_predictions_of_a_round_are_those_of_what_is_drawn(texts: Path, client: dict[str, Any]) -> None:
    """Some clients have fewer examples than 4 and some more; with truncate a draw is not all of them."""
    data, config = small_data(texts), small_config(texts, client=client, selection={"budget": 0.3})
    model = build_model(config)
    assert {len(one.examples) > 4 for one in data.train} == {True, False}
    for one in data.train:
        drawn = draw_examples(config, model, one, 1, data.size)
        assert drawn_predictions(config, model, one, 1, data.size) == drawn.weight
