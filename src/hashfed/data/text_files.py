"""Bytes of files to lines of text; what is no text is refused by name."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from hashfed.errors import HashfedError

MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks that say how a file is encoded; all others are read as UTF-8, with its mark or without."""
_CONTROL = re.compile(r"[\0-\6\x0e-\x1a\x1f]|\x1b(?=\$)")
"""Control characters that are in no text, as ``file`` has it; separators and those of terminals may be,
but not the escapes of ISO-2022, which begin another character set."""
_LINE_END = re.compile(r"\r\n|\n|\r")
REMOVE = "remove it, or leave the file out if it is no text"
CONVERT = "if it is text, convert it from its encoding: iconv -f ENCODING -t UTF-8 FILE > NEW"
BinaryFile = gzip.GzipFile | io.BufferedReader
GZIP = b"\x1f\x8b"
SAMPLE = 4096
"""Bytes that are looked at to guess an encoding."""


def read_lines(path: Path) -> list[str]:
    r"""The lines of a text file, without their ends: only \n, \r\n and \r end a line.

    Raises:
        HashfedError: where it cannot be read, or is no text.

    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HashfedError(f"{path}: {error.strerror or error}") from None
    encoding = _marked(data) or "UTF-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        remedy = f"; {CONVERT}" if encoding == "UTF-8" else ""
        raise _no_text(path, data, f"not {encoding} text (byte {error.start}){remedy}") from None
    lines = _LINE_END.split(text)
    if _CONTROL.search(text):
        number, problem = next(
            (n, found) for n, line in enumerate(lines, 1) if (found := control_problem(line))
        )
        raise _no_text(path, data, f"line {number} {problem}; {REMOVE}")
    return lines


def decoded_lines(file: BinaryFile, path: Path) -> Iterator[str]:
    """The same lines of an open file of any length, one by one; of control characters only NUL is refused.

    Raises:
        HashfedError: where a line is no text.

    """
    encoding = _marked(file.peek(4))
    if encoding is None:
        yield from _utf8_lines(file, path)
        return
    number, reader = 0, io.TextIOWrapper(file, encoding)
    try:
        for line in reader:
            number += 1
            yield line
    except UnicodeError as error:
        raise HashfedError(f"{path}, line {number + 1}: not {encoding} text ({error})") from None
    finally:
        reader.detach()  # the file is its opener's to close


def _utf8_lines(file: BinaryFile, path: Path) -> Iterator[str]:
    number = 0
    for chunk in file:
        for line in chunk.removesuffix(b"\n").removesuffix(b"\r").split(b"\r"):
            number += 1
            where = f"{path}, line {number}"
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise _no_text(where, line, f"not JSON ({error}); {CONVERT}") from None
            if "\0" in text:
                raise _no_text(where, line, f"{control_problem(text)}; {REMOVE}")
            yield text.removeprefix("\ufeff")


def byte_lines(path: Path, where: str) -> Iterator[bytes]:
    r"""Lines without their ends, \n or \r\n; compressed by gzip or not, whatever the name says.

    Raises:
        HashfedError: beginning with ``where``, where the file cannot be read.

    """
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
        with gzip.open(path) if packed else path.open("rb") as lines:
            for line in lines:
                yield line.removesuffix(b"\n").removesuffix(b"\r")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HashfedError(f"{where}: damaged or cut off ({error})") from None
    except OSError as error:
        raise HashfedError(f"{where}: {error.strerror or error}") from None


def control_problem(text: str) -> str | None:
    """What of ``text`` is in no text; None where there is nothing."""
    found = _CONTROL.search(text)
    return found and f"holds the control character U+{ord(found[0]):04X}, which is in no text"


def _marked(data: bytes) -> str | None:
    return next((name for mark, name in MARKS if data.startswith(mark)), None)


def _no_text(where: Path | str, data: bytes, problem: str) -> HashfedError:
    """The problem, or what the bytes are rather than UTF-8."""
    if data.startswith(GZIP):
        return HashfedError(f"{where}: is compressed by gzip; texts are read from .jsonl.gz, not such")
    guess = _guess(data[:SAMPLE])
    if guess is not None:
        problem = (
            f"{guess} without a byte order mark, it seems; iconv -f {guess} -t UTF-8 FILE > NEW converts it"
        )
    return HashfedError(f"{where}: {problem}")


def _guess(sample: bytes) -> str | None:
    """Of which encoding text is whose bytes have NULs only at some places."""
    nuls = [sample[place::4].count(0) for place in range(4)]
    whole = len(sample) // 4
    if not any(nuls):
        return None
    if whole and min(nuls[2:]) >= whole and not nuls[0]:
        return "UTF-32LE"
    if whole and min(nuls[:2]) >= whole and not nuls[3]:
        return "UTF-32BE"
    even, odd = nuls[0] + nuls[2], nuls[1] + nuls[3]
    # Spaces and line ends alone, in the scripts of which nothing else has a NUL, are more than that.
    if max(even, odd) > max(1, len(sample) // 60) and min(even, odd) == 0:
        return "UTF-16LE" if odd else "UTF-16BE"
    return None
