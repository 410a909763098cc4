"""The commands of ``hashfed``, such as ``train``, ``compare`` and ``predict``, and how they end."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hashfed import __version__
from hashfed.cli.arguments import Parser, add_settings, path, whole
from hashfed.cli.buckets import add_buckets, buckets
from hashfed.cli.certificates import add_certificates, certificates
from hashfed.cli.commands import compare, describe_data, predict, train
from hashfed.cli.cost import add_cost, cost
from hashfed.cli.join import add_join, join
from hashfed.cli.keyboard import add_keyboard, keyboard
from hashfed.cli.reproduce import add_reproduce, reproduce
from hashfed.cli.serve import add_serve, serve
from hashfed.cli.streams import exit_code, say, usable_streams
from hashfed.engines.lack import lack_of_memory
from hashfed.errors import HashfedError, warnings_told
from hashfed.stopping import Interrupted, raised, signal_code

SETTINGS_USAGE = "[CONFIG] [--GROUP.FIELD VALUE ...]"
REPRODUCED = {
    "figure1": (
        "accuracy against computed output parameters, of every method",
        "Train every method at every budget with several seeds, after tuning each on validation clients; the "
        "paper's figure 1, and the smallest budget with which each method is as good as full training.",
    ),
    "table1": ("sizes of the model", "Count the parameters of the model beside the paper's numbers."),
    "table2": (
        "the best model within a device's parameters and memory",
        "Train the largest models that fit in the parameters, and in the memory, of the full one, with some "
        "of the rows.",
    ),
    "all": ("all of these and buckets", "Reproduce figure 1, tables 1 and 2, and sample buckets."),
}
CONFIG_HELP = "YAML file with settings; those given as options come on top"


def build_parser() -> Parser:
    """The parser of all commands; each sets ``run``, a function of the parsed arguments."""
    parser = Parser(
        prog="hashfed",
        description="Federated learning of models whose output layer is huge.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hashfed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = commands.add_parser(
        "train",
        help="train a model, or go on with a run that was stopped",
        description="Train in simulation. The run is kept in a folder; the same command resumes it.",
        usage=f"hashfed train {SETTINGS_USAGE}",
        allow_abbrev=False,
    )
    command.add_argument("config", nargs="?", type=path, metavar="CONFIG", help=CONFIG_HELP)
    add_settings(command)
    command.set_defaults(run=train)

    command = commands.add_parser(
        "cost",
        help="what a configuration costs a client, and the largest model that a device can afford",
        description="Print what one client moves, computes and holds in one round, by budget, and the "
        "largest models within limits.",
        usage=f"hashfed cost {SETTINGS_USAGE} [--max-memory BYTES] [--max-bytes BYTES] [...]",
        allow_abbrev=False,
    )
    command.add_argument("config", nargs="?", type=path, metavar="CONFIG", help=CONFIG_HELP)
    add_cost(command)
    add_settings(command)
    command.set_defaults(run=cost)

    command = commands.add_parser(
        "serve",
        help="train on other machines: the server, with Flower",
        description="Start a Flower SuperLink, wait for nodes (hashfed join), train, end as the run does. "
        "The run is kept in a folder here; the same command resumes it.",
        usage=f"hashfed serve {SETTINGS_USAGE} [--address HOST:PORT] [--secure DIR] [--nodes N]",
        allow_abbrev=False,
    )
    command.add_argument("config", nargs="?", type=path, metavar="CONFIG", help=CONFIG_HELP)
    add_serve(command)
    command.set_defaults(run=serve)

    command = commands.add_parser(
        "join",
        help="train on other machines: one node, with Flower",
        description="Start a Flower SuperNode that trains on the data of this machine until Ctrl-C. The data "
        "stay here. Waits for a SuperLink that is not there yet, and joins again when it starts anew.",
        allow_abbrev=False,
    )
    add_join(command)
    command.set_defaults(run=join)

    command = commands.add_parser(
        "certificates",
        help="train on other machines: TLS certificates and keys of nodes",
        description="Make an authority, a certificate for the SuperLink and a key pair for each node, or "
        "keys for further nodes. Overwrites nothing.",
        allow_abbrev=False,
    )
    add_certificates(command)
    command.set_defaults(run=certificates)

    command = commands.add_parser(
        "compare",
        help="tables and plots of several runs as one page",
        description="Write a self-contained HTML page, and print its table.",
        allow_abbrev=False,
    )
    command.add_argument("runs", nargs="+", type=path, metavar="RUN", help="folders of runs")
    command.add_argument(
        "--output", type=path, default=Path("comparison.html"), help="the page [default %(default)s]"
    )
    command.set_defaults(run=compare)

    command = commands.add_parser(
        "predict",
        help="the likeliest next words of a trained run",
        description="Print the likeliest next words after some words.",
        allow_abbrev=False,
    )
    command.add_argument("run_folder", type=path, metavar="RUN", help="folder of a run")
    command.add_argument("text", metavar="WORDS", help="the words so far, such as 'how are'")
    command.add_argument("--top", type=whole, default=5, help="how many words [default %(default)s]")
    command.set_defaults(run=predict)

    command = commands.add_parser(
        "keyboard",
        help="a page on which one types and sees a run's next words",
        description="Serve a page to this machine's browser until Ctrl-C. Whoever types there sees the three "
        "likeliest next words of a run, or of two side by side, as on a phone's keyboard.",
        allow_abbrev=False,
    )
    add_keyboard(command)
    command.set_defaults(run=keyboard)

    paper = commands.add_parser(
        "reproduce", help="the paper's figure and tables, and what is now possible", allow_abbrev=False
    )
    actions = paper.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in REPRODUCED.items():
        command = actions.add_parser(
            name,
            help=text[0],
            description=f"{text[1]} The runs are ordinary run folders below --output; the same command goes "
            "on where it was stopped, and makes no finished run again.",
            allow_abbrev=False,
        )
        add_reproduce(command, name)
        command.set_defaults(run=reproduce, experiment=name)
    command = actions.add_parser(
        "buckets",
        help="sample buckets of a run's output rows, with their words",
        description="Print sample SimHash buckets of a trained run's output rows with their words, as in the "
        "paper's appendix A, and draw them on a page. Words of the paper's own sample buckets are marked "
        "and counted by the buckets into which they fall.",
        allow_abbrev=False,
    )
    add_buckets(command)
    command.set_defaults(run=buckets)

    data = commands.add_parser("data", help="look at a data set", allow_abbrev=False)
    actions = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = actions.add_parser(
        "describe",
        help="clients, words and the floors to beat",
        description="Print sizes of a data set, what clients need of the vocabulary, and the floors.",
        usage=f"hashfed data describe {SETTINGS_USAGE}",
        allow_abbrev=False,
    )
    command.add_argument("config", nargs="?", type=path, metavar="CONFIG", help=CONFIG_HELP)
    add_settings(command)
    command.set_defaults(run=describe_data)

    command = commands.add_parser("bench", add_help=False)  # a command of former versions
    command.add_argument("words", nargs=argparse.REMAINDER)
    command.set_defaults(run=_bench)
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


def _bench(arguments: argparse.Namespace) -> None:
    names = ("client", "index", "memory", "simulation")
    name = next((word for word in arguments.words[:1] if word in names), "NAME")
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
