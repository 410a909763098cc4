"""FLUTE's HDF5 files, one for each split: ``/users``, ``/num_samples`` and ``/user_data/<client>/x``."""

from collections.abc import Iterator
from typing import Any

from hashfed.data import hdf5_files
from hashfed.data.client_texts import ClientTexts
from hashfed.data.hdf5_files import opened, reading
from hashfed.data.leaf import IDS, joined
from hashfed.data.splits import SplitFile
from hashfed.data.text_files import control_problem
from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

USERS, USER_DATA, TEXTS = "users", "user_data", "x"


def stream_flute_hdf5(file: SplitFile) -> Iterator[ClientTexts]:
    """The clients of a file, one by one.

    Raises:
        HashfedError: where h5py is missing, or the file is damaged or of another layout.

    """
    h5py = hdf5_files.library(file.label)
    with opened(h5py, file) as content:
        names = hdf5_files.names(h5py, file, content, USER_DATA)
        if names is None:
            raise HashfedError(
                f"{file.label}: has no group /{USER_DATA}; needs /{USER_DATA}/<client>/{TEXTS}"
            )
        with reading(file):
            users = content.get(USERS)
            count = len(users) if isinstance(users, h5py.Dataset) and users.ndim == 1 else len(names)
        if count > len(names):
            raise HashfedError(
                f"{file.label}: /{USERS} names {count:,} clients, but /{USER_DATA} has only {len(names):,}"
            )
        for name in names:
            yield ClientTexts(name, _texts(h5py, file, content, name), file.group)


def _texts(h5py: Any, file: SplitFile, content: Any, name: str) -> list[str]:
    where = f"{file.label}: client {printable(brief(name))}"
    data, kind = hdf5_files.data_set(h5py, file, content, f"{USER_DATA}/{name}", TEXTS, where)
    with reading(file):
        is_text = h5py.check_string_dtype(data.dtype) is not None and data.ndim in (1, 2)
        is_numbers = data.dtype.kind in "iuf"
    if is_numbers:
        raise HashfedError(f"{where}: {TEXTS} {IDS}")
    if not is_text:
        raise HashfedError(f"{where}: {TEXTS} is {kind}; needs texts, or rows of words")
    return [
        _text(row, f"{where}: example {number}")
        for number, row in enumerate(hdf5_files.values(file, data), start=1)
    ]


def _text(row: Any, where: str) -> str:
    """A text, or words that make one."""
    try:
        text = row.decode() if isinstance(row, bytes) else joined([word.decode() for word in row])
    except UnicodeDecodeError as error:
        raise HashfedError(f"{where} is not UTF-8 ({error.reason})") from None
    problem = control_problem(text) if "\0" in text else None
    if problem is not None:
        raise HashfedError(f"{where} {problem}: {shown(text)}")
    return text
