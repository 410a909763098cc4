"""A model and its clients as a file, for programs that lack hashfed (``benchmarks/simulation/peers``)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from hashfed.config import Config
from hashfed.models import Parameters, TransformerSettings
from hashfed.tasks.examples import Examples


def write_workload(path: Path, config: Config, parameters: Parameters, clients: Sequence[Examples]) -> None:
    """Write a safetensors file; the server is to average, whatever the configuration says of it.

    Args:
        path: of the file.
        config: of a transformer, and of how clients learn.
        parameters: to start from, on the CPU.
        clients: their sentences, in the order in which they are trained on; all of one shape, and full.

    Raises:
        SafetensorError: where it cannot be written.

    """
    columns = [examples.columns() for examples in clients]
    tensors = {f"body.{name}": value.numpy() for name, value in parameters.body.items()}
    tensors |= {name: np.stack([each[name] for each in columns]) for name in ("inputs", "targets")}
    metadata = {
        "learning_rate": str(config.client.learning_rate),
        "batch_size": str(config.client.batch_size),
        "heads": str(TransformerSettings.of(config.model).heads),
        "server_learning_rate": "1.0",
    }
    save_file(tensors | {"rows": parameters.rows.numpy()}, path, metadata=metadata)
