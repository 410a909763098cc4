"""JSON files of LEAF, and of FLUTE, which has the same form.

    {"users": [name, ...], "num_samples": [n, ...], "user_data": {name: {"x": [...], "y": [...]}}}

An element of ``x`` is a text; or a list of words; or a list of such lists, as LEAF has Reddit's comments: in
chunks of ten words with ``<BOS>``, ``<EOS>`` and ``<PAD>``. Of LEAF's Shakespeare it is a window of 80
characters on a role's text, of which the next window begins one or a few characters later, and ``y`` has the
character after each window: these become the text again.

Files are read as a stream of events, for they may be larger than the memory; what is nested deeply, as
no such file is, does not become a tree.
"""

import gzip
import re
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from hashfed.data.client_texts import ClientTexts
from hashfed.data.pieces import MOST_TEXTS
from hashfed.data.splits import SplitFile
from hashfed.data.text_files import GZIP, control_problem
from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

Event = tuple[str, Any]
USER_DATA, TEXTS, NEXT = "user_data", "x", "y"
KEYS = ("users", "num_samples", "hierarchies", USER_DATA, "user_data_label")
PLACEHOLDERS = frozenset({"<BOS>", "<EOS>", "<PAD>"})
WINDOW = 80
"""Characters of a window of LEAF's Shakespeare."""
LEAST_SHARED = WINDOW // 2
"""Characters that two windows have in common where one text goes on."""
DEEPEST = 32
"""Lists and objects within each other."""
IDS = "holds ids of words without their vocabulary; give the file with words, from before they were encoded"
_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"(?:%s)"\s*:' % "|".join(KEYS).encode())


def is_leaf(path: Path) -> bool:
    """Whether a file begins as one of LEAF's; false where it cannot be read."""
    try:
        with _opened(path) as file:
            return _BEGINNING.match(file.read(4096)) is not None
    except (OSError, EOFError, zlib.error):
        return False


def has_words(file: SplitFile) -> bool:
    """Whether the file's first text is a list of words.

    Raises:
        HashfedError: as ``stream_leaf``.

    """
    reader = _Reader(file)
    with closing(reader.clients()) as clients:
        return next(clients, None) is not None and reader.cut


def stream_leaf(file: SplitFile) -> Iterator[ClientTexts]:
    """The clients of a file in pieces.

    Raises:
        HashfedError: where ijson is missing, or the file is damaged or of another form.

    """
    return _Reader(file).clients()


def joined(words: Sequence[str]) -> str:
    """Words as a text, without what is none."""
    return " ".join(word for word in words if word and word not in PLACEHOLDERS)


@dataclass
class _Windows:
    """The texts of overlapping windows, which are made whole at the client's end."""

    last: str | None = None
    parts: list[list[str]] = field(default_factory=list)
    """By text."""
    ends: list[int] = field(default_factory=list)
    """By text the number of its last window: the character after it is that of ``y``."""

    def add(self, window: str, number: int) -> None:
        """The window of this number, from 0."""
        shift = None if self.last is None else _shift(self.last, window)
        if shift is None:
            self.parts.append([window])
            self.ends.append(number)
        else:
            self.parts[-1].append(window[-shift:])
            self.ends[-1] = number
        self.last = window

    def texts(self, following: Sequence[str]) -> list[str]:
        """Whole, each with the character after its last window where there is one."""
        return [
            "".join(parts) + "".join(following[end : end + 1])
            for parts, end in zip(self.parts, self.ends, strict=True)
        ]


class _Reader:
    """One file, event by event."""

    def __init__(self, file: SplitFile) -> None:
        self.file = file
        self.cut = False
        """Whether a text was a list of words."""
        self._depth = 0
        self._found = False
        self._last: str | None = None
        """The client that was begun last: the place where a file is damaged."""

    def clients(self) -> Generator[ClientTexts, None, None]:
        """All of them."""
        with closing(self._events()) as events:
            kind, _ = next(events)
            if kind != "start_map":
                raise self._no("the file is no object")
            for kind, name in events:
                if kind == "map_key" and name == USER_DATA:
                    yield from self._users(events)
                elif kind == "map_key":
                    self._skip(events, next(events))
        if not self._found:
            raise self._no(f'has no "{USER_DATA}"')

    def _users(self, events: Iterator[Event]) -> Iterator[ClientTexts]:
        self._found = True
        if next(events)[0] != "start_map":
            raise self._no(f'"{USER_DATA}" is no object')
        for kind, name in events:
            if kind == "end_map":
                return
            if control_problem(name) is not None:
                raise self._no(f"the name of client {shown(name)} {control_problem(name)}")
            self._last = name
            yield from self._client(events, name)

    def _client(self, events: Iterator[Event], name: str) -> Iterator[ClientTexts]:
        kind, _ = next(events)
        windows, following = _Windows(), list[str]()
        if kind == "start_array":  # FLUTE's, of a task without labels
            yield from self._texts(events, name, windows)
        elif kind == "start_map":
            for _, key in iter(lambda: next(events), ("end_map", None)):
                first = next(events)
                if key == TEXTS and first[0] == "start_array":
                    yield from self._texts(events, name, windows)
                elif key == TEXTS:
                    raise self._no(f'"{TEXTS}" is no list', name)
                elif key == NEXT and windows.parts and first[0] == "start_array":
                    following = self._characters(events)
                else:
                    self._skip(events, first)
        else:
            raise self._no("is neither an object nor a list", name)
        if windows.parts:
            yield ClientTexts(name, windows.texts(following), self.file.group)

    def _texts(self, events: Iterator[Event], name: str, windows: _Windows) -> Iterator[ClientTexts]:
        """What is in the list that has begun; windows are left to the client's end."""
        texts: list[str] = []
        for number, event in enumerate(iter(lambda: next(events), ("end_array", None))):
            text = self._text(events, event, number, name)
            if number == 1 and not self.cut and _shift(texts[0], text) is not None:
                windows.add(texts.pop(), 0)
            if windows.parts:
                windows.add(text, number)
            else:
                texts.append(text)
            if len(texts) == MOST_TEXTS:
                yield ClientTexts(name, texts, self.file.group)
                texts = []
        if texts:
            yield ClientTexts(name, texts, self.file.group)

    def _text(self, events: Iterator[Event], event: Event, number: int, name: str) -> str:
        kind, value = event
        if kind == "start_array":
            self.cut = True
            text = joined(self._words(events, number, name))
        elif kind == "string":
            text = value
        else:
            raise self._no(f"text {number + 1} is no text" if kind != "number" else f'"{TEXTS}" {IDS}', name)
        if "\0" in text:
            raise self._no(f"text {number + 1} {control_problem(text)}", name)
        return text

    def _words(self, events: Iterator[Event], number: int, name: str) -> list[str]:
        """The words of the list that has begun, and of the lists within it."""
        words, open_lists = list[str](), 1
        for kind, value in events:
            if kind == "string":
                words.append(value)
            elif kind in ("start_array", "end_array"):
                open_lists += 1 if kind == "start_array" else -1
                if not open_lists:
                    break
            else:
                problem = f'"{TEXTS}" {IDS}' if kind == "number" else f"text {number + 1} is no list of words"
                raise self._no(problem, name)
        return words

    def _characters(self, events: Iterator[Event]) -> list[str]:
        """The texts of the list that has begun."""
        found = []
        for event in iter(lambda: next(events), ("end_array", None)):
            self._skip(events, event)
            found.append(event[1] if event[0] == "string" else "")
        return found

    def _skip(self, events: Iterator[Event], first: Event) -> None:
        """Pass over a value, of which the first event is known."""
        if first[0] not in ("start_map", "start_array"):
            return
        depth = self._depth - 1
        for _ in events:
            if self._depth == depth:
                return

    def _events(self) -> Generator[Event, None, None]:
        """The file's, with how deep each is; an exception of the parser names the file."""
        try:
            import ijson
        except ModuleNotFoundError:
            raise HashfedError(
                f"{self.file.label}: needs the package ijson (pip install 'hashfed[leaf]')"
            ) from None
        try:
            with _opened(self.file.path) as content:
                for kind, value in ijson.basic_parse(content, use_float=True):
                    if kind in ("start_map", "start_array"):
                        self._depth += 1
                        if self._depth > DEEPEST:
                            raise self._damaged(f"has lists or objects nested more than {DEEPEST} deep")
                    elif kind in ("end_map", "end_array"):
                        self._depth -= 1
                    yield kind, value
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise self._damaged(f"damaged, or no JSON ({_said(error)})") from None
        except OSError as error:
            raise self._damaged(error.strerror or f"damaged or cut off ({_said(error)})") from None
        except (EOFError, zlib.error) as error:
            raise self._damaged(f"damaged or cut off ({_said(error)})") from None

    def _damaged(self, problem: str) -> HashfedError:
        place = "" if self._last is None else f"in or after client {printable(brief(self._last))}: "
        return HashfedError(f"{self.file.label}: {place}{problem}")

    def _no(self, problem: str, client: str | None = None) -> HashfedError:
        who = "" if client is None else f"client {printable(brief(client))}: "
        return HashfedError(f"{self.file.label}: {who}{problem}")


def _shift(before: str, window: str) -> int | None:
    """How many characters after another one a window begins; None where they are no two of one text."""
    if len(before) != WINDOW or len(window) != WINDOW:
        return None
    shifts = range(1, WINDOW - LEAST_SHARED + 1)
    return next((shift for shift in shifts if before.startswith(window[:-shift], shift)), None)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.open(file) as content:
            yield content  # type: ignore[misc]


def _said(error: Exception) -> str:
    """The parser shows the place in several lines, of which the first says what is wrong."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return printable(brief(text.strip().split("\n")[0].strip()))
