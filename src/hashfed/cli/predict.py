"""``hashfed predict``."""

import argparse

from hashfed.cli.arguments import Parser, path, whole
from hashfed.cli.command import Command
from hashfed.cli.streams import say
from hashfed.display import printable, shown
from hashfed.keyboard.predict import predict_words, unknown_words
from hashfed.runs import RunFolder


def add_predict(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument("run_folder", type=path, metavar="RUN", help="folder of a run")
    parser.add_argument("text", metavar="WORDS", help="the words so far, such as 'how are'")
    parser.add_argument("--top", type=whole, default=5, help="how many words [default %(default)s]")


def predict(arguments: argparse.Namespace) -> None:
    """``hashfed predict``."""
    run = RunFolder(arguments.run_folder)
    found = predict_words(run, arguments.text, arguments.top)
    unknown, known = unknown_words(run, arguments.text)
    if unknown:
        which = "some words are" if known else "every word is"
        names = ", ".join(unknown)
        say(f"hashfed: {which} unknown to this run, which reads all such as the same: {names}")
    elif not known:
        say(f"hashfed: no word in {shown(arguments.text)}; this is how sentences begin")
    for word, probability in found:
        print(f"{probability:8.2%}  {printable(word)}")


PREDICT = Command(
    name="predict",
    help="the likeliest next words of a trained run",
    description="Print the likeliest next words after some words.",
    run=predict,
    add=add_predict,
)
