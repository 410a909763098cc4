"""A client's peak memory, bytes and step time at several budgets against full; prints JSON.

Memory is that of a fresh process that holds only what a client receives; times are medians over repeats
in one process, interleaved over the budgets, one thread.

    python benchmarks/client_cost.py --vocabulary 10000
"""

import argparse
import json
import statistics
from typing import Any

import torch

from hashfed import load_data, make_config
from hashfed.config import Config
from hashfed.data import FederatedText
from hashfed.engines import build_model
from hashfed.engines.allocator import keep_memory
from hashfed.engines.device_memory import PROBED_ROUND, busiest_client, measure_device_memory
from hashfed.engines.exchange import play_round
from hashfed.experiments.train import DOWN, UP
from hashfed.models import Parameters
from hashfed.randomness import stream
from hashfed.retrieval import build_index


def settings(budget: float, arguments: argparse.Namespace) -> Config:
    """The default run at one budget; 1 means full."""
    return make_config(
        {
            "data": {"source": arguments.source, "vocabulary": arguments.vocabulary},
            "retrieval": {"method": "full"} if budget == 1 else {},
            "selection": {"budget": budget},
        }
    )


def measure(
    config: Config, data: FederatedText, parameters: Parameters, repeats: int
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Exact figures of the client with the most to predict, and the seconds of each repeat."""
    model = build_model(config)
    client = busiest_client(config, data)
    index = build_index(parameters.rows, config.retrieval, data.label_counts, config.seed)
    seconds = []
    for _ in range(repeats):
        prior = data.label_counts
        _, report, _ = play_round(config, model, parameters, index, client, PROBED_ROUND, prior=prior)
        seconds.append(report.seconds)
    figures: dict[str, Any] = {
        "rows": report.rows,
        "parameters": report.parameters,
        "predictions": report.predictions,
        "gflop": report.flops / 1e9,
        "bytes_down": sum(report.bytes.get(kind, 0) for kind in DOWN),
        "bytes_up": sum(report.bytes.get(kind, 0) for kind in UP),
        "bytes": report.bytes,
    }
    return figures, seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", default="chitchat")
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.0, 0.3, 0.1, 0.05])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    configs = {budget: settings(budget, arguments) for budget in arguments.budgets}
    first = next(iter(configs.values()))
    data = load_data(first)
    parameters = build_model(first).init(len(data.vocabulary), stream(0, "init"))
    found: dict[float, dict[str, Any]] = {}
    seconds: dict[float, list[dict[str, float]]] = {budget: [] for budget in configs}
    for repeat in range(arguments.repeats + 1):
        for budget, config in configs.items():
            figures, times = measure(config, data, parameters, 1)
            found[budget] = figures
            if repeat > 0:  # the first warms up
                seconds[budget] += times
    for budget, config in configs.items():
        model = build_model(config)
        found[budget] |= measure_device_memory(config, model, data, parameters)
        found[budget]["memory"] = found[budget]["memory_peak"] - found[budget]["memory_baseline"]
        for name in seconds[budget][0]:
            values = [item[name] for item in seconds[budget]]
            found[budget][f"seconds_{name}"] = statistics.median(values)
    reference = found.get(1.0)
    for figures in found.values():
        if reference is not None:
            for name in ("memory", "bytes_down", "bytes_up", "gflop", "seconds_train"):
                figures[f"{name}_ratio_to_full"] = figures[name] / reference[name]
    result = {"rows_in_all": len(data.vocabulary), "threads": 1, "repeats": arguments.repeats}
    print(json.dumps(result | {"budgets": {str(key): value for key, value in found.items()}}, indent=1))


if __name__ == "__main__":
    main()
