"""The commands of ``hashfed``, such as ``train``, ``compare`` and ``predict``, and how they end."""

import argparse
import sys
from collections.abc import Callable, Sequence

from hashfed import __version__
from hashfed.cli.arguments import Parser
from hashfed.cli.bench import BENCH
from hashfed.cli.buckets import BUCKETS
from hashfed.cli.certificates import CERTIFICATES
from hashfed.cli.command import Command
from hashfed.cli.compare import COMPARE
from hashfed.cli.cost import COST
from hashfed.cli.data import DESCRIBE
from hashfed.cli.join import JOIN
from hashfed.cli.keyboard import KEYBOARD
from hashfed.cli.predict import PREDICT
from hashfed.cli.prepare import CHECK, PREPARE
from hashfed.cli.reproduce import REPRODUCE
from hashfed.cli.serve import SERVE
from hashfed.cli.streams import exit_code, say, usable_streams
from hashfed.cli.train import TRAIN
from hashfed.engines.lack import lack_of_memory
from hashfed.errors import HashfedError, warnings_told
from hashfed.stopping import Interrupted, raised, signal_code

COMMANDS: tuple[Command, ...] = (
    TRAIN,
    COST,
    SERVE,
    JOIN,
    CERTIFICATES,
    COMPARE,
    PREDICT,
    KEYBOARD,
    *REPRODUCE,
    BUCKETS,
    DESCRIBE,
    PREPARE,
    CHECK,
    BENCH,
)
"""A new command adds its file, and itself here; the first word of a name is its group's, where it has two."""
GROUPS = {
    "reproduce": "the paper's figure and tables, and what is now possible",
    "data": "look at a data set, or prepare a large one",
    "bench": "how many clients this machine trains in a second",
}
FORMER_BENCHMARKS = ("client", "index", "memory", "simulation")
"""Commands of the group ``bench`` until they became modules of a checkout."""


def build_parser() -> Parser:
    """The parser of all commands; each sets ``run``, a function of the parsed arguments."""
    parser = Parser(
        prog="hashfed",
        description="Federated learning of models whose output layer is huge.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hashfed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    groups: dict[str, argparse._SubParsersAction[Parser]] = {}
    for command in COMMANDS:
        group, _, own = command.name.partition(" ")
        if own and group not in groups:
            made = commands.add_parser(group, help=GROUPS[group], allow_abbrev=False)
            groups[group] = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
        command.add_to(groups[group] if own else commands)
    return parser


def main(arguments: Sequence[str] | None = None, make_parser: Callable[[], Parser] = build_parser) -> int:
    """Run a command of the parser, which sets ``run``; returns the exit code.

    0; 2 for a user's mistake; 128 + the signal that ended it; and where all is done but standard output could
    not take what was printed, 1 if its reader left, else 2.
    """
    given = sys.argv[1:] if arguments is None else arguments
    with usable_streams() as output:
        try:
            return exit_code(output, _run(given, make_parser))
        except SystemExit as stop:  # by the parser, after --help and mistakes
            raise SystemExit(exit_code(output, int(stop.code or 0))) from None


def _run(arguments: Sequence[str], make_parser: Callable[[], Parser]) -> int:
    try:
        # Left before what came is told, so that a second signal does not end this half-way.
        with raised():
            parser = make_parser()
            if make_parser is build_parser:
                _check_former(arguments)
            parsed, unknown = parser.parse_known_args(arguments)
            if unknown:
                _refuse(parser, arguments, unknown)
            with warnings_told(lambda line: say(f"hashfed: {line}")), lack_of_memory():
                parsed.run(parsed)
        return 0
    except HashfedError as error:
        say(f"hashfed: {error}")
        return 2
    except Interrupted as stop:
        say("hashfed: stopped and saved; the same command goes on from here")
        return signal_code(stop)
    except KeyboardInterrupt as stop:
        say("hashfed: stopped; what was saved is kept")
        return signal_code(stop)


def _check_former(arguments: Sequence[str]) -> None:
    """Refuse the benchmarks that are no commands any more, and what may have been meant as one.

    Raises:
        HashfedError: saying what they are now.

    """
    group, word = list(arguments[:1]), "".join(arguments[1:2])
    if group == ["bench"] and word not in (BENCH.name.split()[-1], "-h", "--help"):
        name = word if word in FORMER_BENCHMARKS else "NAME"
        raise HashfedError(f"bench: now python -m benchmarks.{name}, in a checkout of hashfed's sources")


def _refuse(parser: Parser, arguments: Sequence[str], unknown: list[str]) -> None:
    """Report unknown arguments through the command they were given to, which knows its options."""
    command: argparse.ArgumentParser = parser
    for word in arguments:
        for action in command._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                command = action.choices[word]
    command.error(f"unrecognized arguments: {' '.join(unknown)}")


if __name__ == "__main__":
    sys.exit(main())
