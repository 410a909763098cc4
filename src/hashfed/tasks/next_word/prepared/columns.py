"""Columns of numbers in files that are mapped into memory: NumPy's ``.npy``, written without being held.

NumPy's own format, because it is a header before bare numbers: it is mapped in a millisecond, its pages are
shared by all who map it, and every tool of this field reads it. Arrow's IPC would do as well, and cost each
process of a simulation, and each device, a library of 150 MB for what is eight columns of numbers.
"""

import hashlib
import mmap
import os
import tokenize
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.lib import format as npy

from hashfed.errors import HashfedError
from hashfed.files import writing

SUFFIX = ".npy"
BUFFER = 1 << 20
"""Bytes read at a time for a checksum."""


class ColumnWriter:
    """A file of numbers of one type, to which arrays are appended; a context manager that completes it.

    Until then the file says that it holds no number.
    """

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.path, self.dtype, self.count = path, dtype, 0
        with writing(path):
            self._file = path.open("wb")
            self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(self.path), self._file:
            if kind is None:
                # The room that a header leaves for a longer number keeps its length.
                self._file.seek(0)
                self._write_header()
                self._file.flush()
                os.fsync(self._file.fileno())

    def append(self, values: np.ndarray) -> None:
        """Add ``values`` (k,), which must fit in the type."""
        with writing(self.path):
            self._file.write(np.ascontiguousarray(values, self.dtype).data)
        self.count += len(values)

    def _write_header(self) -> None:
        header = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.count,)}
        npy.write_array_header_1_0(self._file, header)


def map_column(path: Path) -> np.ndarray:
    """The numbers of a file, (k,), read where they are touched and not before.

    Raises:
        HashfedError: where the file cannot be read, is cut off or of another format.

    """
    try:
        # Not np.load, to which a file that begins as a ZIP archive is one.
        found = npy.open_memmap(path, mode="r")
    except OSError as error:
        raise HashfedError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, OverflowError, tokenize.TokenError) as error:  # NumPy's, of headers
        raise HashfedError(f"{path}: damaged ({' '.join(str(error).split())})") from None
    if found.ndim != 1:
        raise HashfedError(f"{path}: damaged (no column of numbers)")
    return found.view(np.ndarray)  # numpy's own class for mapped arrays makes each slice ten times slower


def release(column: np.ndarray) -> None:
    """Give back the memory of the pages of a mapped column; they are read again where they are touched."""
    base: object = column
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):  # an empty column is not mapped
        base.madvise(mmap.MADV_DONTNEED)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
        HashfedError: where it cannot be read, as on a disk that is damaged.

    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(BUFFER):
                found.update(part)
    except OSError as error:
        raise HashfedError(f"{path}: cannot be read ({error.strerror or error})") from None
    return found.hexdigest()
