"""Command-line arguments made from the configuration's fields."""

import argparse
from collections.abc import Collection
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NoReturn, get_args, get_origin

from hashfed.cli.descriptions import descriptions
from hashfed.cli.streams import say
from hashfed.config import MOVED, Config, bounds, setting_fields
from hashfed.display import brief
from hashfed.errors import HashfedError
from hashfed.files import with_home
from hashfed.scalars import REAL, WHOLE
from hashfed.settings import ByName, Settings

MOST_DIGITS = 18
"""Of a whole number: enough for any size, and in no one's way."""


class Parser(argparse.ArgumentParser):
    """Reports a mistake as one line and ends with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake, and the argument that may have been meant."""
        known = [option for action in self._actions for option in action.option_strings]
        words = message.removeprefix("unrecognized arguments: ").split()
        if message.startswith("unrecognized arguments: "):
            option = words[0].split("=")[0]
            moved = f"--{MOVED.get(option.removeprefix('--'), '')}"
            close = get_close_matches(option, known, n=1)
            what = "no such option" if option.startswith("-") else "one argument too many"
            message = f"{words[0]}: {what}"
            if moved in known:
                message += f"; it is {moved} now"
            else:
                message += f"; did you mean {close[0]}?" if close else f" (see {self.prog} --help)"
        say(f"hashfed: {message}")
        self.exit(2)


def whole(text: str) -> int:
    """A whole number in decimal digits; what ``int`` takes besides is more often a slip."""
    if not WHOLE.fullmatch(text) or len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{brief(text)!r}: must be a whole number, such as 3")
    return int(text)


def real(text: str) -> float:
    """A finite number in decimal digits."""
    if not REAL.fullmatch(text) or float(text) in (float("inf"), float("-inf")):
        raise argparse.ArgumentTypeError(f"{brief(text)!r}: must be a number, such as 0.5 or 1e-3")
    return float(text)


def path(text: str) -> Path:
    """A path, in which ``~`` is the user's home: not every shell sees it in ``--output=~/page.html``."""
    try:
        found = Path(with_home(text))
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            found.lstat()
        return found
    except HashfedError as error:
        raise argparse.ArgumentTypeError(f"{brief(text)}: {error}") from None
    except OSError as error:  # too long a name, which any look at the path would meet
        raise argparse.ArgumentTypeError(f"{brief(text)}: {error.strerror or error}") from None


def add_settings(parser: argparse.ArgumentParser, besides: Collection[str] = ()) -> None:
    """One option ``--group.field`` for each field of ``Config``, by group, but those in ``besides``."""
    group = parser.add_argument_group("settings of the run")
    for name, field in Config.model_fields.items():
        if name in besides:
            continue
        inner, union = field.annotation, ByName.of(field)
        if isinstance(inner, type) and issubclass(inner, Settings):
            if union is None:
                add_group(parser, name, inner)
            else:
                _add_union(_section(parser, name, inner), name, union)
        else:
            _add_option(group, name, _help(Config, name))


def add_group(
    parser: argparse.ArgumentParser, name: str, settings: type[Settings], besides: Collection[str] = ()
) -> None:
    """One option for each field of a group of settings, but those in ``besides``."""
    section = _section(parser, name, settings)
    for leaf in settings.model_fields:
        if leaf not in besides:
            _add_option(section, f"{name}.{leaf}", _help(settings, leaf))


def _section(parser: argparse.ArgumentParser, name: str, settings: type[Settings]) -> argparse._ArgumentGroup:
    about = f" ({_summary(settings)})" if _summary(settings) else ""
    return parser.add_argument_group(f"settings of {name}{about}")


def overrides(arguments: argparse.Namespace) -> dict[str, str]:
    """The settings given on the command line, by dotted name."""
    given = vars(arguments)
    return {name: given[name] for name, _ in setting_fields() if given.get(name) is not None}


def _add_union(section: argparse._ArgumentGroup, name: str, union: ByName) -> None:
    """One option for the kind, and one for each field of any kind, which says whose it is."""
    kinds = "; ".join(f"{kind}, {_summary(group)}" for kind, group in union.kinds.items())
    _add_option(section, f"{name}.{union.key}", f"One of: {kinds} [default {union.default}]")
    for leaf, fields in union.fields().items():
        if leaf == union.key:
            continue
        told: dict[str, list[str]] = {}
        for kind in fields:
            told.setdefault(_help(union.kinds[kind], leaf), []).append(kind)
        parts = [text + _whose(names, union.kinds) for text, names in told.items()]
        _add_option(section, f"{name}.{leaf}", " ".join(parts))


def _whose(names: Collection[str], kinds: Collection[str]) -> str:
    """The kinds in parentheses, in as few words as possible; nothing where it is all of them."""
    others = [kind for kind in kinds if kind not in names]
    if not others:
        return ""
    few = ", ".join(names) if len(others) >= len(names) else f"all but {', '.join(others)}"
    return f" ({few})"


def _summary(settings: type[Settings]) -> str:
    """The first sentence of its docstring, to go on a sentence with; Python has none with -OO."""
    summary = (settings.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    return summary[:1].lower() + summary[1:]


def _add_option(section: argparse._ArgumentGroup, name: str, text: str) -> None:
    metavar = name.rpartition(".")[2].upper()
    section.add_argument(f"--{name}", dest=name, metavar=metavar, help=text.replace("%", "%%"))


def _help(settings: type[Settings], leaf: str) -> str:
    """What a setting is, its default, and what it may be."""
    field, text = settings.model_fields[leaf], " ".join(descriptions(settings).get(leaf, "").split())
    default = "none" if field.default is None else str(field.default).lower()
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    allowed = ", ".join(map(str, choices)) or bounds(field)
    return f"{text} [{'; '.join(filter(None, [f'default {default}', allowed]))}]"
