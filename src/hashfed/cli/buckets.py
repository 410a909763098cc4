"""``hashfed reproduce buckets``."""

import argparse
import json
import shutil
import sys

from hashfed.cli.arguments import Parser, path, whole
from hashfed.cli.command import Command
from hashfed.cli.outputs import check_output
from hashfed.files import write_atomically
from hashfed.reproduction.buckets import BucketSettings, find_buckets, read_rows
from hashfed.reproduction.report.buckets_page import write_buckets_page
from hashfed.reproduction.report.buckets_table import print_buckets
from hashfed.runs import RunFolder


def add_buckets(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument("run_folder", type=path, metavar="RUN", help="folder of a run")
    numbers = {
        "bits": "K of the hash function: it has 2^K buckets",
        "buckets": "how many sample buckets",
        "words": "how many words of each bucket",
        "seed": "of the hash function and the sample",
    }
    for name, text in numbers.items():
        default = getattr(BucketSettings, name)
        parser.add_argument(f"--{name}", type=whole, default=default, help=f"{text} [default %(default)s]")
    parser.add_argument(
        "--near", nargs="+", default=(), metavar="WORD", help="all buckets of these words instead of a sample"
    )
    parser.add_argument(
        "--no-center",
        dest="center",
        action="store_false",
        help="hash the rows as they are, as the paper does; by default their mean is subtracted first",
    )
    parser.add_argument("--output", type=path, metavar="PATH", help="the page [default RUN/buckets.html]")
    parser.add_argument("--json", type=path, metavar="PATH", help="also the result as JSON")


def buckets(arguments: argparse.Namespace) -> None:
    """Print the buckets and write the page."""
    settings = BucketSettings(
        bits=arguments.bits,
        buckets=arguments.buckets,
        words=arguments.words,
        seed=arguments.seed,
        center=arguments.center,
        near=tuple(arguments.near),
    )
    run = RunFolder(arguments.run_folder)
    output = arguments.output or run.path / "buckets.html"
    check_output(output)
    if arguments.json is not None:
        check_output(arguments.json, "--json")
    rows, vocabulary = read_rows(run)
    found = find_buckets(rows, vocabulary, settings)
    print_buckets(found, shutil.get_terminal_size().columns, sys.stdout)
    if arguments.json is not None:
        text = json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n"
        write_atomically(arguments.json, text.encode())
    write_buckets_page(found, rows, run.path.resolve().name, output)
    print(f"\npage: {output}")


BUCKETS = Command(
    name="reproduce buckets",
    help="sample buckets of a run's output rows, with their words",
    description="Print sample SimHash buckets of a trained run's output rows with their words, as in the "
    "paper's appendix A, and draw them on a page. Words of the paper's own sample buckets are marked "
    "and counted by the buckets into which they fall.",
    run=buckets,
    add=add_buckets,
)
