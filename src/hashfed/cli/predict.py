"""``hashfed predict``."""

import argparse

from hashfed.cli.arguments import Parser, path, whole
from hashfed.cli.command import Command
from hashfed.cli.streams import say
from hashfed.display import printable
from hashfed.runs import RunFolder
from hashfed.runs.predict import likeliest


def add_predict(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument("run_folder", type=path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "words",
        nargs="+",
        metavar="WORDS",
        help="what to go on from: the words so far, such as 'how are'; items of a history; "
        "feature:value ..., or words where the run knows its features' names",
    )
    parser.add_argument("--top", type=whole, default=5, help="how many answers [default %(default)s]")


def predict(arguments: argparse.Namespace) -> None:
    """``hashfed predict``."""
    found, notes = likeliest(RunFolder(arguments.run_folder), arguments.words, arguments.top)
    for note in notes:
        say(f"hashfed: {note}")
    for text, probability in found:
        print(f"{probability:8.2%}  {printable(text)}")


PREDICT = Command(
    name="predict",
    help="the likeliest next words, next items or labels of a trained run",
    description="Print what a run predicts: the likeliest next words, next items, or labels of features.",
    run=predict,
    add=add_predict,
)
