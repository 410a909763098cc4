"""Train with all rows and with parts of them, long and in pairs of the same seed; print JSON with the gaps.

    python -m benchmarks.long_runs chitchat --seeds 0 1
    python -m benchmarks.long_runs texts.jsonl.gz --vocabulary 30000 --rounds 200 --server 0.005 --share 0.05

Runs of a seed have the same cohorts, sentences and first parameters. Short runs and single ones have misled:
a run scatters by 0.01 nats, a pair by 0.002. Finished runs in ``--output`` are not run again, others
go on. Further settings of all runs follow ``--setting``, such as ``--setting client.epochs=4``.
"""

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PLANES = {"selection.correction": "control-variate"}
SAMPLE = {"selection.correction": "tail"}
TOP = {"selection.sampling": "top"}
PAPER = {
    "retrieval.method": "simhash-union",
    "retrieval.bits": 8,
    "retrieval.tables": 8,
    "retrieval.transform": "none",
    "selection.tail": 0,
    "selection.correction": "none",
}


def variants(share: float) -> dict[str, dict[str, Any]]:
    """Settings by name; the baselines hold a ``share`` of all rows."""
    budget = {"selection.budget": share}
    return {
        "full": {"retrieval.method": "full"},
        "planes-own+0": PLANES | {"selection.extra": 0},
        "planes-own+1%": PLANES | {"selection.extra": 0.01},
        "planes-own+5%": PLANES | {"selection.extra": 0.05},
        "sample-own+1%": SAMPLE | {"selection.extra": 0.01},
        "sample-own+5%": SAMPLE | {"selection.extra": 0.05},
        "frequency": budget | TOP | SAMPLE | {"retrieval.method": "frequency", "selection.tail": 0.5},
        "random": budget | TOP | SAMPLE | {"retrieval.method": "random", "selection.tail": 1},
        "paper": budget | TOP | PAPER,
    }


def train(settings: dict[str, Any], output: Path) -> dict[str, Any]:
    """One run; its evaluations by round, and the last of all held-out sentences."""
    command = [sys.executable, "-m", "hashfed", "train", f"--output={output}"]
    command += [f"--{name}={value}" for name, value in settings.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return {
        "nll": {line["round"]: line["evaluation"]["nll"] for line in lines if "evaluation" in line},
        "final": json.loads((output / "summary.json").read_text())["evaluation"],
        "rows": statistics.mean(line["rows"] for line in lines),
        "bounded": sum(line.get("bounded", 0) for line in lines),
    }


def gaps(run: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    """What a run misses of the full one of its seed: nats by round and at the end, points of accuracy."""
    if "failed" in run or "failed" in full:
        return {}
    return {
        "nll_gaps": {round: nll - full["nll"][round] for round, nll in run["nll"].items()},
        "nll_gap": run["final"]["nll"] - full["final"]["nll"],
        "accuracy_gap": 100 * (run["final"]["accuracy"] - full["final"]["accuracy"]),
    }


def main() -> None:
    """Run what is asked for, and print one JSON object: by variant, by seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source")
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--server", type=float, default=0.01, help="the server's learning rate")
    parser.add_argument("--share", type=float, default=0.1, help="of all rows, for the baselines")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", choices=list(variants(0.1)), default=list(variants(0.1)))
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--parallel", type=int, default=2, help="runs at a time, each with one worker")
    parser.add_argument("--output", type=Path, default=Path("runs/long"))
    arguments = parser.parse_args()
    rounds = arguments.rounds
    common: dict[str, Any] = {
        "data.source": arguments.source,
        "data.vocabulary": arguments.vocabulary,
        "server.learning_rate": arguments.server,
        "server.decay_start": round(0.6 * rounds),
        "server.decay_rounds": rounds,
        "rounds": rounds,
        "evaluation.every": max(1, rounds // 4),
        "evaluation.examples": 2000,
        "workers": 1,
    }
    common |= dict(setting.split("=", 1) for setting in arguments.setting)
    names = list(dict.fromkeys(["full", *arguments.variants]))
    jobs = [(name, seed) for seed in arguments.seeds for name in names]

    def one(job: tuple[str, int]) -> dict[str, Any]:
        name, seed = job
        settings = common | variants(arguments.share)[name] | {"seed": seed}
        if name == "paper":  # the best of the rates tried on validation clients
            settings["server.learning_rate"] = min(0.005, arguments.server)
        found = train(settings, arguments.output / f"{name}-{seed}")
        print(json.dumps({"variant": name, "seed": seed} | found), file=sys.stderr, flush=True)
        return found

    with ThreadPoolExecutor(arguments.parallel) as pool:
        results = dict(zip(jobs, pool.map(one, jobs), strict=True))
    print(
        json.dumps(
            {
                name: {
                    seed: found | gaps(found, results["full", seed])
                    for (of, seed), found in results.items()
                    if of == name
                }
                for name in names
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
