"""``hashfed data prepare`` and ``hashfed data check``."""

import argparse
import shlex
import time
from pathlib import Path

from hashfed.cli.arguments import Parser, add_group, overrides, path
from hashfed.cli.command import Command
from hashfed.cli.reading import reading_shown
from hashfed.config import load_config
from hashfed.hardware import show_bytes
from hashfed.tasks.next_word.prepared.check import check_folder
from hashfed.tasks.next_word.task import NextWordSettings


def add_prepare(parser: Parser) -> None:
    """A source, a folder, and the settings of the data."""
    parser.add_argument("source", metavar="SOURCE", help="what data.source may be")
    parser.add_argument("folder", type=path, metavar="FOLDER", help="to be made; must not be there")
    parser.add_argument(
        "--config", type=path, metavar="FILE", help="a run's, whose settings of the data are taken"
    )
    add_group(parser, "data", NextWordSettings, besides=("task", "source"))


def prepare_data(arguments: argparse.Namespace) -> None:
    """``hashfed data prepare``."""
    config = load_config(arguments.config, overrides(arguments) | {"data.source": arguments.source})
    task = NextWordSettings.of(config.data).build()
    folder: Path = arguments.folder
    start = time.perf_counter()
    with reading_shown() as tell:
        manifest = task.prepare(folder, tell)
    seconds = time.perf_counter() - start
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(
        f"{folder}: {manifest.sentences:,} sentences of {manifest.clients:,} clients, {show_bytes(size)}, "
        f"in {seconds:,.0f} s ({manifest.sentences / seconds:,.0f} a second)"
    )
    print(f"hashfed train --data.source {shlex.quote(str(folder))}")


def add_check(parser: Parser) -> None:
    """The folder."""
    parser.add_argument("folder", type=path, metavar="FOLDER", help="that hashfed data prepare made")


def check_data(arguments: argparse.Namespace) -> None:
    """``hashfed data check``."""
    count = check_folder(arguments.folder)
    print(f"{arguments.folder}: {count} files are as they were written")


PREPARE = Command(
    name="data prepare",
    help="make a folder of texts of any size, that opens at once",
    description="Read texts of any size, with settings of the data, and write a folder that is mapped into "
    "memory: give it as data.source. Memory grows with the number of clients, not with their texts.",
    run=prepare_data,
    add=add_prepare,
)
CHECK = Command(
    name="data check",
    help="compare a prepared folder with its checksums",
    description="Read all of a folder that hashfed data prepare made, and compare it with its checksums.",
    run=check_data,
    add=add_check,
)
