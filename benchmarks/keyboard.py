"""How long ``hashfed keyboard`` takes for a key press, through HTTP; prints JSON.

Types a text letter by letter, one process and one core for server and client together.

    taskset -c 0 python -m benchmarks.keyboard runs/ours
"""

import argparse
import json
import statistics
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import torch

from hashfed import RunFolder
from hashfed.keyboard.server import KeyboardServer, read_columns

TEXT = (
    "hello! how are you doing today? i have been thinking about what you said, and would like to know more. "
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--presses", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (column,) = read_columns([RunFolder(arguments.run)])
    with KeyboardServer([column]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = measure(server, column.name, arguments.presses)
        server.shutdown()
    facts = dict(column.facts)
    print(json.dumps({"words": facts["Words"], "presses": arguments.presses, **found}, indent=1))


def measure(server: KeyboardServer, name: str, presses: int) -> dict[str, Any]:
    """Milliseconds of key presses, after a tenth as many that do not count."""
    connection = HTTPConnection("127.0.0.1", server.server_address[1])
    whole, computed = [], []
    for press in range(-(presses // 10), presses):
        text = TEXT[: 1 + press % len(TEXT)]
        start = time.perf_counter()
        body = json.dumps({"run": name, "text": text})
        connection.request("POST", "/suggest", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        seconds = time.perf_counter() - start
        if press >= 0:
            whole.append(1000 * seconds)
            computed.append(answer["milliseconds"])
    return {"request_ms": spread(whole), "computed_ms": spread(computed)}


def spread(times: list[float]) -> dict[str, float]:
    """Median, and what one press in ten, one in a hundred and the slowest took or more."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"median": statistics.median(times), "90th": cuts[89], "99th": cuts[98], "largest": max(times)}


if __name__ == "__main__":
    main()
