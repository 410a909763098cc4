from pathlib import Path

import pytest

from hashfed.engines import Simulation
from hashfed.engines.device_memory import measure_device_memory
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
