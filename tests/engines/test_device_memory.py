from pathlib import Path

from hashfed.engines import Simulation
from hashfed.engines.device_memory import measure_device_memory
from small import small_config, small_data


def test_memory_of_a_fresh_client_process(texts: Path) -> None:
    data = small_data(texts)
    config = small_config(texts)
    with Simulation(config, data) as simulation:
        found = measure_device_memory(config, simulation.model, data, simulation.state.parameters)
    assert 20e6 < found["memory_baseline"] < found["memory_peak"] < 2e9
