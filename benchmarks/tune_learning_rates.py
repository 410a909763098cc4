"""Try every pair of learning rates for each configuration on validation clients; print JSON.

The test clients are not touched. Trials run two at a time, each with one worker, and the server's rate
falls to zero over the last 40% of the rounds:

    python -m benchmarks.tune_learning_rates configs/full.yaml configs/hashed.yaml --rounds 100

Further settings of all trials follow ``--setting``, such as ``--setting selection.budget=0.05``.
"""

import argparse
import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CLIENT_RATES = (0.3,)
SERVER_RATES = (0.005, 0.01, 0.015)


def trial(
    config: Path, client: float, server: float, rounds: int, folder: Path, further: list[str]
) -> dict[str, object]:
    """One run; a diverged one is reported with its message."""
    output = folder / f"{config.stem}-client{client:g}-server{server:g}"
    command = [sys.executable, "-m", "hashfed", "train", str(config)]
    settings = {
        "client.learning_rate": client,
        "server.learning_rate": server,
        "server.decay_rounds": rounds,
        "server.decay_start": round(0.6 * rounds),
        "rounds": rounds,
        "output": output,
        "workers": 1,
        "evaluation.clients": "validation",
        "evaluation.every": rounds,
    }
    command += [f"--{name}={value}" for name, value in settings.items()]
    command += [f"--{setting}" for setting in further]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, object] = {"config": config.stem, "client": client, "server": server}
    if done.returncode == 0:
        evaluation = json.loads((output / "summary.json").read_text())["evaluation"]
        found |= {name: evaluation[name] for name in ("accuracy", "top3_accuracy", "nll")}
    else:
        found["failed"] = done.stderr.strip().splitlines()[-1]
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Run all trials and print them, best (lowest full-softmax NLL) first within a configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--output", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--client", type=float, nargs="+", default=CLIENT_RATES)
    parser.add_argument("--server", type=float, nargs="+", default=SERVER_RATES)
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    trials = list(itertools.product(arguments.configs, arguments.client, arguments.server))
    with ThreadPoolExecutor(2) as pool:
        pending = [
            pool.submit(trial, *item, arguments.rounds, arguments.output, arguments.setting)
            for item in trials
        ]
        found = [item.result() for item in pending]
    found.sort(key=lambda item: (str(item["config"]), float(str(item.get("nll", "inf")))))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
