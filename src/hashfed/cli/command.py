"""What a command of ``hashfed`` is: a file each, with its arguments and what it does."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hashfed.cli.arguments import Parser, add_settings, path

SETTINGS_USAGE = "[CONFIG] [--GROUP.FIELD VALUE ...]"


def _nothing(parser: Parser) -> None:
    """No argument of its own."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: words after ``hashfed``, the last of which is its own.
        help: a line.
        description: more of it.
        run: what it does with its parsed arguments.
        add: adds its arguments to a parser.
        settings: whether it takes a configuration: a YAML file, and an option for each setting.
        usage: of its own options, where it takes settings.
        besides: settings that it decides itself, and has no option for.

    """

    name: str
    help: str
    description: str
    run: Callable[[argparse.Namespace], None]
    add: Callable[[Parser], None] = _nothing
    settings: bool = False
    usage: str = ""
    besides: tuple[str, ...] = ()

    def add_to(self, commands: "argparse._SubParsersAction[Any]") -> None:
        """Add its parser."""
        usage = f"hashfed {self.name} {SETTINGS_USAGE} {self.usage}".rstrip() if self.settings else None
        parser = commands.add_parser(
            self.name.split()[-1],
            help=self.help,
            description=self.description,
            usage=usage,
            allow_abbrev=False,
        )
        if self.settings:
            text = "YAML file with settings; those given as options come on top"
            parser.add_argument("config", nargs="?", type=path, metavar="CONFIG", help=text)
        self.add(parser)
        if self.settings:
            add_settings(parser, self.besides)
        parser.set_defaults(run=self.run)
