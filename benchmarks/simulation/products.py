"""Run as a module: the matrix products of one step with the default model, one thread, as JSON."""

import json
import statistics
import sys

import torch

from benchmarks.client.floor import matrix_product_seconds
from benchmarks.simulation.scenario import BATCH, LENGTH
from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.randomness import stream
from hashfed.tasks.next_word.vocabulary import SPECIAL

REPEATS = 5


def main() -> None:
    """Print the median seconds; the argument is V."""
    torch.set_num_threads(1)
    model, rows = build_model(Config()), int(sys.argv[1]) + len(SPECIAL)
    body = model.init({"output": 1}, stream(0, "init")).body
    seconds = [matrix_product_seconds(body, rows, model.dimension, BATCH * LENGTH) for _ in range(REPEATS)]
    sys.stdout.write(json.dumps(statistics.median(seconds)) + "\n")


if __name__ == "__main__":
    main()
