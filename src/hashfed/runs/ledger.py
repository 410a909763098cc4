"""A ledger of the sums that a server was told, in the run's folder: a line is on disk before its sum is used.

Who must say how much a run has told of its clients counts these lines; so a round that is played again, after
a failure or in a resumed run, is a new release, and no line is ever cut back, not even with a checkpoint.
Each line ends with the SHA-256 of what it says and names that of the line before, so that one that is lost,
altered or out of order is noticed; only whole lines lost from the end are not, by the ledger alone. A line
that a dying process left half-written is a release that may have happened: it stays, as ``Unfinished``, and
counts.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from hashfed.display import brief, shown
from hashfed.errors import HashfedError
from hashfed.files import sync_folder, write_atomically, writing
from hashfed.runs.contents import REMEDY

LEDGER = "ledger.jsonl"
LOCK = ".ledger.lock"

START = "0" * 64
"""What the first line names as the line before."""


def utc_now() -> str:
    """The wall-clock time in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() != UTC.utcoffset(None):
        raise ValueError("must be in UTC")
    return text


Positive = Annotated[int, Field(ge=1)]
Utc = Annotated[str, AfterValidator(_utc)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Line(BaseModel):
    """Nothing is passed over: what a line says, it says to whoever counts."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Release(_Line):
    """A sum over clients that the server learned.

    Attributes:
        release: counts all releases of the run, from 1.
        round: the round it was for; the same again where a round was played again.
        time: when the line was written, in UTC.
        label: what was summed, such as ``"updates"``.
        length: how many numbers the sum has.
        bits: of each number.
        norm_bound: what the norm of one client's summand was bounded by; None: by nothing.
        asked: how many clients were asked for a summand.
        summed: how many are in the sum.
        roster: ``roster_digest`` of the clients among whom the sum was to be.

    """

    release: Positive
    round: Positive
    time: Utc
    label: Annotated[str, Field(min_length=1, max_length=100)]
    length: Positive
    bits: Positive
    norm_bound: Annotated[float, Field(gt=0)] | None
    asked: Positive
    summed: Positive
    roster: Digest

    @model_validator(mode="after")
    def _no_more_than_asked(self) -> Self:
        if self.summed > self.asked:
            raise ValueError(f"summed = {self.summed}: must be at most asked = {self.asked}")
        return self


class Unfinished(_Line):
    """A release whose line a dying process left half-written: the server may have learned the sum.

    Attributes:
        release: as of ``Release``.
        time: when the half line was found by who goes on with the ledger; None: it was not yet.
        unfinished: what there is of it, its bytes as Latin-1.

    """

    release: Positive
    time: Utc | None
    unfinished: Annotated[str, Field(min_length=1)]


Entry = Release | Unfinished


class Ledger:
    """Writes the ledger of one run; ``with Ledger.open(folder) as ledger`` or ``close`` lets go of it.

    ``release`` returns once the line is on disk: only then may the sum be used.
    """

    def __init__(self, path: Path, lock: IO[bytes], now: Callable[[], str]) -> None:
        self.path = path
        self._lock: IO[bytes] | None = lock
        self._now = now
        self._descriptor: int | None = None
        self._entries: list[Entry] = []
        self._last = START

    @classmethod
    def open(cls, folder: Path, now: Callable[[], str] = utc_now) -> Self:
        """Go on with the ledger in a run's folder; where there is none, the first release makes it.

        Args:
            folder: of the run; it must exist.
            now: the time, for tests.

        Raises:
            HashfedError: where another process has it open, it is damaged (with the line), or it cannot be
                read or written.

        """
        ledger = cls(folder / LEDGER, _locked(folder), now)
        try:
            ledger._load()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def release(
        self,
        round: int,
        *,
        label: str,
        length: int,
        bits: int,
        norm_bound: float | None,
        asked: int,
        summed: int,
        roster: Collection[str],
    ) -> Release:
        """Write down that the server learns a sum, and return once that is on disk.

        Args:
            round: from 1.
            label: what is summed.
            length: how many numbers the sum has.
            bits: of each number.
            norm_bound: of one client's summand; None: there is no bound.
            asked: how many clients were asked.
            summed: how many are in the sum.
            roster: the names, in any order, of the clients among whom the sum was to be: all that are in it,
                of those that were asked.

        Raises:
            HashfedError: where the disk is full; the sum must not be used then, and the ledger is closed:
                opened anew, it counts the release if any of its line is there.
            ValueError: where a number or the label is out of range.

        """
        if not summed <= len(roster) <= asked:
            raise ValueError(f"{summed} summed of a roster of {len(roster)} of {asked} asked")
        if self._lock is None:
            raise HashfedError(
                f"{self.path}: closed, perhaps by a line that could not be written; open it anew"
            )
        entry = Release(
            release=len(self._entries) + 1,
            round=round,
            time=self._now(),
            label=label,
            length=length,
            bits=bits,
            norm_bound=norm_bound,
            asked=asked,
            summed=summed,
            roster=roster_digest(roster),
        )
        line = line_of(entry, self._last)
        try:
            with writing(self.path):
                self._append(line)
        except BaseException:
            # How much of it is on disk only who reads it anew can say.
            self.close()
            raise
        self._entries.append(entry)
        self._last = digest_of(line)
        return entry

    def releases(self) -> list[Entry]:
        """All releases of the run, of earlier processes too, in their order: the n-th has ``release`` n."""
        return list(self._entries)

    def close(self) -> None:
        """Let go of the file; twice does no harm."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self) -> None:
        data = _read(self.path)
        self._entries, self._last = entries_of(data, self.path)
        if self._entries and not data.endswith(b"\n"):
            # Either the half line is there or what is said of it: a kill here loses nothing.
            half = self._entries[-1].model_copy(update={"time": self._now()})
            line = line_of(half, self._last)
            write_atomically(self.path, data[: data.rfind(b"\n") + 1] + line)
            with writing(self.path):
                sync_folder(self.path.parent)
            self._entries[-1], self._last = half, digest_of(line)

    def _append(self, line: bytes) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            sync_folder(self.path.parent)
        left = memoryview(line)
        while left:
            left = left[os.write(self._descriptor, left) :]
        os.fsync(self._descriptor)


def read_ledger(folder: Path) -> list[Entry]:
    """All releases of a run, whether or not it is being trained; none where it has no ledger.

    Raises:
        HashfedError: where it is damaged, with the line, or cannot be read.

    """
    return entries_of(_read(folder / LEDGER), folder / LEDGER)[0]


def _locked(folder: Path) -> IO[bytes]:
    with writing(folder / LOCK):
        lock = (folder / LOCK).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise HashfedError(f"{folder / LEDGER}: another process is writing it") from None
        except BaseException:
            lock.close()
            raise
    return lock


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise HashfedError(f"{path}: cannot be read ({error.strerror or error})") from None


def line_of(entry: Entry, before: str) -> bytes:
    """A line of the ledger, its newline at the end.

    Args:
        entry: what it says.
        before: ``digest_of`` the line before; ``START`` for the first.

    """
    said = json.dumps(entry.model_dump() | {"before": before}, allow_nan=False)[:-1].encode()
    return said + b', "sha256": "' + hashlib.sha256(said).hexdigest().encode() + b'"}\n'


def digest_of(line: bytes) -> str:
    """The SHA-256 at the end of a line."""
    return line[-67:-3].decode()


def entries_of(data: bytes, place: object) -> tuple[list[Entry], str]:
    """What a ledger says, and the digest of its last whole line.

    Args:
        data: its bytes; an end without a newline is an ``Unfinished`` release, found by nobody yet.
        place: for messages.

    Raises:
        HashfedError: naming the first line that is none, was altered, or does not follow on the one before.

    """
    *lines, half = data.split(b"\n")
    entries: list[Entry] = []
    last = START
    for number, line in enumerate(lines, start=1):
        try:
            entry, before = _entry(line)
            if entry.release != number:
                raise ValueError(f"release {entry.release} where {number} is due")
            if before != last:
                raise ValueError("the line before is not the one that was there when it was written")
        except ValueError as error:
            raise HashfedError(f"{place}, line {number}: {error}; {REMEDY}") from None
        entries.append(entry)
        last = digest_of(line + b"\n")
    if half:
        entries.append(Unfinished(release=len(lines) + 1, time=None, unfinished=half.decode("latin-1")))
    return entries, last


def roster_digest(names: Collection[str]) -> str:
    """The SHA-256 of the names as a JSON list, sorted.

    Raises:
        ValueError: where a name is there twice.

    """
    if len(set(names)) < len(names):
        raise ValueError("a client is in the roster twice")
    return hashlib.sha256(json.dumps(sorted(names)).encode()).hexdigest()


def _entry(line: bytes) -> tuple[Entry, str]:
    """What a line without its newline says, and the digest of the line before.

    Raises:
        ValueError: with the reason why it is not a line of a ledger, on one line.

    """
    found = re.fullmatch(rb'(\{.*), "sha256": "([0-9a-f]{64})"\}', line, re.DOTALL)
    if found is None:
        raise ValueError("damaged: not a line of a ledger")
    if hashlib.sha256(found[1]).hexdigest().encode() != found[2]:
        raise ValueError("altered: its sha256 does not fit")
    try:
        value: dict[str, Any] = json.loads(found[1] + b"}")
    except (ValueError, RecursionError):
        raise ValueError("damaged: not a line of a ledger") from None
    kind: type[Release] | type[Unfinished] = Unfinished if "unfinished" in value else Release
    before = value.pop("before", None)
    try:
        return kind.model_validate(value), str(before)
    except ValidationError as error:
        problem: Sequence[Any] = error.errors(include_url=False)
        where = ".".join(str(part) for part in problem[0]["loc"])
        reason = (
            f"{where} = {shown(problem[0]['input'])}: {problem[0]['msg']}" if where else problem[0]["msg"]
        )
        raise ValueError(brief(f"damaged: {reason}")) from None
