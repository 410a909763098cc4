"""Standard output and standard error that a command can write to, whatever the shell connected them to.

Full, closed, without a reader, or of an encoding that lacks a character: none of these ends a command
half-way. What it computes is kept in files; that it could not be shown is told once, at the end.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from hashfed.display import LONGEST_LINE, brief, printable

LAYOUT = "\n\t"
"""Control characters that tables and pages of text are made of."""


class Stream:
    """Writes to a text file and never fails; characters that its encoding lacks become escapes.

    Attributes:
        lost: why something that was written did not arrive; None where all did.

    """

    def __init__(self, file: TextIO | None, escape: bool) -> None:
        """Write to ``file``, None for a closed one; ``escape`` what would steer a terminal."""
        self._file, self._escape = file, escape
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """As of any text file."""
        if self._file is None:
            self.lost = OSError(errno.EBADF, os.strerror(errno.EBADF)) if text else self.lost
            return len(text)
        shown = printable(text, LAYOUT) if self._escape else text
        encoding = self._file.encoding or "utf-8"
        self._try(self._file.write, shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """As of any text file."""
        if self._file is not None:
            self._try(self._file.flush)

    def isatty(self) -> bool:
        """Whether somebody is watching."""
        return self._file is not None and self.lost is None and self._file.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _try(self, act: Callable[..., object], *arguments: object) -> None:
        if self.lost is not None:
            return
        try:
            act(*arguments)
        except OSError as error:
            self.lost = error
            # Nor must what the file still holds fail when Python ends, or a child that writes there.
            with suppress(OSError), Path(os.devnull).open("wb") as sink:
                os.dup2(sink.fileno(), cast(TextIO, self._file).fileno())


@contextmanager
def usable_streams() -> Iterator[Stream]:
    """Replace ``sys.stdout``, which is given, and ``sys.stderr`` until the end of the block."""
    _occupy_descriptors()
    before = sys.stdout, sys.stderr
    output = Stream(sys.stdout, escape=True)
    # A progress bar steers the terminal; lines with texts of others go through ``say``.
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, Stream(sys.stderr, escape=False))
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before


def say(line: str) -> None:
    """News for whoever watches; standard output is for results."""
    print(printable(brief(line, LONGEST_LINE)), file=sys.stderr, flush=True)


def exit_code(output: Stream, code: int) -> int:
    """``code``, or one that says that not everything was printed: 1 where the reader left, else 2."""
    output.flush()
    if output.lost is None:
        return code
    if output.lost.errno == errno.EPIPE:
        return code or 1
    say(f"hashfed: standard output cannot be written ({output.lost.strerror or output.lost})")
    return code or 2


def _occupy_descriptors() -> None:
    """Make sure that no file or socket takes the place of a closed 0, 1 or 2, to which libraries write."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
