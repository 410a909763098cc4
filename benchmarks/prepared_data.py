"""Data of Stack Overflow's size: prepare them, open them, train on them; prints JSON.

The source is made up, in the format of TensorFlow Federated: as many clients as its Stack Overflow has, each
with some sentences of words whose frequencies fall as 1 / rank. It is written once, below ``--folder``.

    python -m benchmarks.prepared_data --sentences 10000000
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from hashfed.randomness import stream

CLIENTS = {"train": 342_477, "heldout": 38_758, "test": 204_088}
"""Of Stack Overflow, by split."""
TYPES = 1_000_000
"""Different words."""
LONGEST = 24
"""Words of a sentence, at most; from 1, all equally likely."""
PAGE = os.sysconf("SC_PAGE_SIZE")
TABLES = """
CREATE TABLE examples (
    split_name TEXT NOT NULL, client_id TEXT NOT NULL, serialized_example_proto BLOB NOT NULL);
CREATE TABLE client_metadata (
    client_id TEXT NOT NULL, split_name TEXT NOT NULL, num_examples INTEGER NOT NULL);
"""
INDEX = "CREATE INDEX idx_examples_client_id_split ON examples (split_name, client_id);"


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sentences", type=int, default=10_000_000)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of clients")
    parser.add_argument("--folder", type=Path, default=Path("bench-prepared-data"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    source, prepared = folder / f"{arguments.sentences}.sqlite", folder / "prepared"
    folder.mkdir(parents=True, exist_ok=True)
    clients = {split: max(1, round(arguments.scale * count)) for split, count in CLIENTS.items()}
    if not source.exists():
        write(source, clients, arguments.sentences)
    shutil.rmtree(prepared, ignore_errors=True)
    hashfed = [sys.executable, "-m", "hashfed"]
    found: dict[str, Any] = {
        "clients": clients,
        "source_bytes": source.stat().st_size,
        "prepare": measured([*hashfed, "data", "prepare", str(source), str(prepared)]),
    }
    sentences = json.loads((prepared / "prepared.json").read_text())["sentences"]
    found |= {
        "sentences": sentences,
        "sentences_per_second": sentences / found["prepare"]["seconds"],
        "bytes": sum(path.stat().st_size for path in prepared.iterdir()),
        "open": json.loads(output([sys.executable, "-c", OPEN, str(prepared)])),
        "describe": measured([*hashfed, "data", "describe", "--data.source", str(prepared)]),
        "train": {},
    }
    for workers in arguments.workers:
        run = folder / f"run-{workers}"
        shutil.rmtree(run, ignore_errors=True)
        options = [f"--data.source={prepared}", f"--rounds={arguments.rounds}", "--cohort=50"]
        options += [f"--workers={workers}", f"--output={run}", "--evaluation.every=1000000"]
        found["train"][workers] = measured(
            [*hashfed, "train", *options], run / "metrics.jsonl", arguments.rounds
        )
    json.dump(found, sys.stdout, indent=1)
    print()


OPEN = """
import json, sys, time
from hashfed.config import make_config
start = time.perf_counter()
data = make_config({"data": {"source": sys.argv[1]}}).data.build().load("test")
opened = time.perf_counter() - start
json.dump({"seconds": opened, "train_clients": len(data.train)}, sys.stdout)
"""


def measured(command: list[str], lines: Path | None = None, count: int = 0) -> dict[str, Any]:
    """Seconds of a command, and the largest memory of its process and of each that it started.

    Args:
        command: to run.
        lines: a file; when it has ``count`` lines the command is ended. None: it ends by itself.
        count: of lines.

    Returns:
        ``seconds``, and in bytes ``resident`` and ``private`` (not mapped from files) of each process, the
        first one's first.

    """
    start = time.perf_counter()
    peaks: dict[int, list[int]] = {}
    ended = False
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for number in family(process.pid):
                for place, value in enumerate(memory(number)):
                    peak = peaks.setdefault(number, [0, 0])
                    peak[place] = max(peak[place], value)
            if lines is not None and lines.exists() and lines.read_text().count("\n") >= count:
                ended = True
                process.terminate()
                break
            time.sleep(0.1)
    if process.returncode and not ended:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return {
        "seconds": time.perf_counter() - start,
        "resident": [peak[0] for _, peak in sorted(peaks.items())],
        "private": [peak[1] for _, peak in sorted(peaks.items())],
    }


def family(process: int) -> Iterator[int]:
    """A process and those that it started."""
    yield process
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from family(int(child))


def memory(process: int) -> tuple[int, int]:
    """Resident bytes, all and those that are not of files."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{process}/statm").read_text().split())
    except (OSError, ValueError):
        return 0, 0
    return PAGE * resident, PAGE * (resident - shared)


def output(command: list[str]) -> str:
    """What a command prints."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def write(path: Path, clients: dict[str, int], sentences: int) -> None:
    """TFF's tables; a client has at least one sentence, and some have many."""
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    rng = stream(0, "prepared-data")
    shares = rng.pareto(1.5, sum(clients.values()))
    counts = 1 + np.floor(shares * ((sentences - len(shares)) / shares.sum())).astype(np.int64)
    words = [b"w%d" % rank for rank in range(1, TYPES + 1)]
    with closing(sqlite3.connect(beside)) as database, database:
        database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {TABLES}")
        first = 0
        for split, number in clients.items():
            own = counts[first : first + number]
            first += number
            names = [f"{client:08d}" for client in rng.choice(10**8, number, replace=False)]
            database.executemany(
                "INSERT INTO client_metadata VALUES (?, ?, ?)",
                ((name, split, int(count)) for name, count in zip(names, own, strict=True)),
            )
            for name, count in zip(names, own, strict=True):
                database.executemany(
                    "INSERT INTO examples VALUES (?, ?, ?)",
                    ((split, name, example(text)) for text in texts(rng, int(count), words)),
                )
        database.executescript(INDEX)
    beside.rename(path)


def texts(rng: np.random.Generator, count: int, words: list[bytes]) -> Iterator[bytes]:
    """Sentences with words between spaces."""
    lengths = rng.integers(1, LONGEST + 1, count)
    ranks = np.floor(TYPES ** rng.random(int(lengths.sum()))).astype(np.int64) - 1
    start = 0
    for length in lengths.tolist():
        yield b" ".join([words[rank] for rank in ranks[start : start + length].tolist()])
        start += length


def example(text: bytes) -> bytes:
    """A ``tf.train.Example`` with the feature ``tokens``."""
    return field(1, field(1, field(1, b"tokens") + field(2, field(1, field(1, text)))))


def field(number: int, value: bytes) -> bytes:
    """A field of protocol buffers that holds bytes."""
    length, size = bytearray(), len(value)
    while size >= 128:
        length.append(size % 128 + 128)
        size //= 128
    return bytes([8 * number + 2, *length, size]) + value


if __name__ == "__main__":
    main()
