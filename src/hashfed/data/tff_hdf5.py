"""The older files of TensorFlow Federated: HDF5, a file for each split, ``/examples/<client>/tokens``."""

import unicodedata
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from hashfed.data import hdf5_files
from hashfed.data.client_texts import ClientTexts, Group, Key
from hashfed.data.hdf5_files import opened, reading
from hashfed.data.part import Part, Taken, needed
from hashfed.data.splits import SplitFile
from hashfed.data.text_files import control_problem
from hashfed.display import brief, printable
from hashfed.errors import HashfedError

FILES: dict[str, Group] = {
    "stackoverflow_train.h5": "train",
    "stackoverflow_held_out.h5": "validation",
    "stackoverflow_test.h5": "test",
}
"""TFF's names of the files of Stack Overflow."""
EXAMPLES, TOKENS = "examples", "tokens"


def read_hdf5(files: Sequence[SplitFile], part: Part, where: str) -> Iterator[ClientTexts]:
    """The clients of several files that a part needs, one by one.

    Args:
        files: of one data set.
        part: what is needed.
        where: what messages call the source as a whole.

    Raises:
        HashfedError: where a file is damaged or of another layout, or h5py is missing.

    """
    h5py = hdf5_files.library(where)
    files = [file for file in files if _may_serve(file.group, part)]
    ids = {file: _ids(h5py, file) for file in files}
    wanted = needed({_key(file, id) for file in files for id in ids[file]}, part)
    for file in files:
        with opened(h5py, file) as content:
            for id in ids[file]:
                if _key(file, id) in wanted:
                    yield ClientTexts(id, _texts(h5py, file, content, id, part), file.group)


def _may_serve(group: Group | None, part: Part) -> bool:
    return part.held_out is None or group in (None, "train", part.held_out)


def _key(file: SplitFile, id: str) -> Key:
    return file.group, unicodedata.normalize("NFC", id)


def _ids(h5py: ModuleType, file: SplitFile) -> list[str]:
    with opened(h5py, file) as content:
        ids = hdf5_files.names(h5py, file, content, EXAMPLES)
    if ids is None:
        raise HashfedError(
            f"{file.label}: has no group /{EXAMPLES}; needs /{EXAMPLES}/<client>/{TOKENS}, as TFF's"
        )
    return ids


def _texts(h5py: ModuleType, file: SplitFile, content: Any, id: str, part: Part) -> list[str]:
    where, taken = f"{file.label}: client {printable(brief(id))}", Taken(part)
    for number, value in enumerate(_values(h5py, file, content, id, where), start=1):
        try:
            text = value.decode()
        except UnicodeDecodeError as error:
            raise HashfedError(f"{where}: example {number} is not UTF-8 ({error.reason})") from None
        problem = control_problem(text) if "\0" in text else None
        if problem is not None:
            raise HashfedError(f"{where}: example {number} {problem}")
        taken.add(text)
        if taken.full:
            break
    return taken.texts


def _values(h5py: ModuleType, file: SplitFile, content: Any, id: str, where: str) -> Iterator[bytes]:
    tokens, kind = hdf5_files.data_set(h5py, file, content, f"{EXAMPLES}/{id}", TOKENS, where)
    with reading(file):
        is_text = h5py.check_string_dtype(tokens.dtype) is not None and tokens.ndim == 1
    if not is_text:
        raise HashfedError(f"{where}: {TOKENS} is {kind}; needs a row of texts")
    yield from hdf5_files.values(file, tokens)
