"""Where slices lie (``federated.slices``): in memory, in a folder, or on a web server that serves the folder.

A folder holds a slice with address ``abcdef…`` as the file ``ab/cdef…``. What is fetched is never longer than
was asked for, and ``CachedSource`` checks its hash.
"""

import contextlib
import math
import time
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hashfed.engines.web import fetch
from hashfed.errors import HashfedError
from hashfed.federated.messages import DIGEST
from hashfed.federated.slices import Wanted, address_of, verified
from hashfed.files import write_atomically

DIGITS = 2 * DIGEST
"""Of an address."""


class SliceSource(Protocol):
    """Slices to read."""

    def get(self, wanted: Wanted) -> bytes:
        """The slice, unchecked, of at most one byte more than asked for.

        Raises:
            HashfedError: where it cannot be read.

        """
        ...


class SliceStore(SliceSource, Protocol):
    """Slices to write and to read."""

    def put(self, data: bytes) -> str:
        """Keep a slice; returns its address. One that is there already is not written again.

        Raises:
            HashfedError: where it cannot be written.

        """
        ...

    def keep(self, addresses: Set[str]) -> None:
        """Delete all other slices."""
        ...


@dataclass
class MemoryStore:
    """Slices in this process.

    Attributes:
        slices: by address.

    """

    slices: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes) -> str:
        """Keep a slice; returns its address."""
        address = address_of(data)
        self.slices.setdefault(address, data)
        return address

    def get(self, wanted: Wanted) -> bytes:
        """The slice.

        Raises:
            HashfedError: where there is none with this address.

        """
        if wanted.address not in self.slices:
            raise HashfedError(f"slice {wanted.address}: not in this store")
        return self.slices[wanted.address]

    def keep(self, addresses: Set[str]) -> None:
        """Delete all other slices."""
        self.slices = {address: data for address, data in self.slices.items() if address in addresses}


@dataclass(frozen=True)
class FolderStore:
    """Slices as files, to be read here or served as they are by a web server."""

    folder: Path

    def put(self, data: bytes) -> str:
        """Write a slice, unless it is there; returns its address.

        Raises:
            HashfedError: where it cannot be written.

        """
        address = address_of(data)
        path = self.folder / slice_path(address)
        if not path.exists():
            write_atomically(path, data)
        return address

    def get(self, wanted: Wanted) -> bytes:
        """The slice.

        Raises:
            HashfedError: where the file cannot be read.

        """
        path = self.folder / slice_path(wanted.address)
        try:
            with path.open("rb") as file:
                return file.read(wanted.size + 1)
        except OSError as error:
            raise HashfedError(f"{path}: cannot be read ({error.strerror or error})") from None

    def keep(self, addresses: Set[str]) -> None:
        """Delete the files of all other slices; files that are none stay.

        Raises:
            HashfedError: where one cannot be deleted.

        """
        try:
            for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
                address = path.parent.name + path.name
                # What a kill left half-written is called .cdef….new (files.write_atomically).
                half = path.parent.name + path.name.removeprefix(".").removesuffix(".new")
                if (_is_address(address) and address not in addresses) or (
                    half != address and _is_address(half)
                ):
                    path.unlink()
            for parent in self.folder.glob("[0-9a-f][0-9a-f]"):
                with contextlib.suppress(OSError):  # not empty
                    parent.rmdir()
        except OSError as error:
            raise HashfedError(f"{self.folder}: cannot be cleared ({error.strerror or error})") from None


@dataclass(frozen=True)
class WebSource:
    """Slices of a folder that a web server serves at ``url``, http or https.

    Attributes:
        url: of the folder.
        seconds: for which slices are fetched from now on, all together; each has a limit of its own besides.

    """

    url: str
    seconds: float = math.inf
    _opened: float = field(default_factory=time.monotonic, init=False, compare=False, repr=False)

    def get(self, wanted: Wanted) -> bytes:
        """The slice.

        Raises:
            HashfedError: where the server does not answer with it in time, or redirects (``web.fetch``).

        """
        url = f"{self.url.rstrip('/')}/{slice_path(wanted.address).as_posix()}"
        left = self._opened + self.seconds - time.monotonic()
        if left <= 0:
            raise HashfedError(f"{url}: not fetched: the slices took longer than {self.seconds:g} s")
        return fetch(url, wanted.size + 1, left)


def is_url(where: str, name: str) -> bool:
    """Whether slices are on a web server rather than in a folder.

    Raises:
        HashfedError: for a URL with ?, # or @, which would ask for something else than a folder's files; it
            begins with ``name``.

    """
    found = where.startswith(("http://", "https://"))
    if found and any(sign in where for sign in "?#@"):
        raise HashfedError(f"{name}: a URL must have no ?, # and @")
    return found


def open_source(where: str, seconds: float = math.inf) -> FolderStore | WebSource:
    """The source at a URL that begins with http:// or https://, else in a folder of this path.

    ``seconds``: for which slices are fetched from a URL.

    Raises:
        HashfedError: as ``is_url``.

    """
    if is_url(where, f"slices at {where}"):
        return WebSource(where, seconds)
    return FolderStore(Path(where))


@dataclass
class CachedSource:
    """A client's view of a source: each slice is checked, and travels once.

    A client that keeps it from round to round fetches only what it does not have yet.

    Attributes:
        source: of the slices.
        fetched: bytes fetched from it so far.
        kept: slices by address.

    """

    source: SliceSource
    fetched: int = 0
    kept: dict[str, bytes] = field(default_factory=dict)

    def fetch(self, wanted: Iterable[Wanted]) -> list[bytes]:
        """The slices, in this order.

        Raises:
            HashfedError: where one cannot be read, or is not what its address says.

        """
        return [self.get(item) for item in wanted]

    def get(self, wanted: Wanted) -> bytes:
        """The slice.

        Raises:
            HashfedError: as ``fetch``.

        """
        if wanted.address not in self.kept:
            data = verified(wanted, self.source.get(wanted))
            self.fetched += len(data)
            self.kept[wanted.address] = data
        return self.kept[wanted.address]

    def keep(self, addresses: Set[str]) -> None:
        """Forget all other slices."""
        self.kept = {address: data for address, data in self.kept.items() if address in addresses}


def slice_path(address: str) -> Path:
    """Where a slice lies in a folder: ``ab/cdef…``.

    Raises:
        HashfedError: where ``address`` is not 64 hexadecimal digits: a path is made of nothing else.

    """
    if not _is_address(address):
        raise HashfedError(f"slice address = {address!r}: must be {DIGITS} digits 0-9, a-f")
    return Path(address[:2]) / address[2:]


def _is_address(text: str) -> bool:
    return len(text) == DIGITS and set(text) <= set("0123456789abcdef")
