"""Train one configuration with each kind of compression; print JSON.

For each kind: bytes down and up per client and round, and accuracy and NLL on all held-out sentences. Kinds
are trained one after another, each in a folder below --output, where a run that was stopped goes on:

    python -m benchmarks.compression configs/hashed.yaml --rounds 100 --seed 1 --selection.budget 0.05

Settings of all runs may be given as for ``hashfed train``.
"""

import json
import sys
from pathlib import Path

from hashfed.cli.arguments import Parser, add_settings, overrides
from hashfed.config import load_config
from hashfed.errors import HashfedError
from hashfed.runs.train import train

KINDS = {
    "none": {},
    "float16": {"rows": "float16", "updates": "float16"},
    "bfloat16": {"rows": "bfloat16", "updates": "bfloat16"},
    "int8": {"rows": "float16", "updates": "int8"},
    "int8 with error feedback": {"rows": "float16", "updates": "int8", "error_feedback": "true"},
}
"""Compression settings by name; rows from the server are never int8."""


def measure(path: Path | None, settings: dict[str, str], kind: str, folder: Path) -> dict[str, object]:
    """One run; a diverged one is reported with its message."""
    compression = {f"compression.{name}": value for name, value in KINDS[kind].items()}
    output = {"output": str(folder / kind.replace(" ", "-"))}
    config = load_config(path, settings | compression | output)
    found: dict[str, object] = {"compression": kind}
    try:
        summary = train(config)
    except HashfedError as error:
        return found | {"failed": str(error)}
    device, evaluation = summary["device"], summary["evaluation"]
    return found | {
        "rounds": summary["rounds"],
        "bytes_down": device["bytes_down"],
        "bytes_up": device["bytes_up"],
        "accuracy": evaluation["accuracy"],
        "nll": evaluation["nll"],
    }


def main() -> None:
    """Train all kinds and print them."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", type=Path, nargs="?", help="YAML file; none: the defaults")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    add_settings(parser)
    arguments = parser.parse_args()
    settings = overrides(arguments)
    folder = Path(settings.pop("output", "runs/compression"))
    try:
        found = []
        for kind in arguments.kinds:
            found.append(measure(arguments.config, settings, kind, folder))
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    except HashfedError as error:
        parser.error(str(error))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
