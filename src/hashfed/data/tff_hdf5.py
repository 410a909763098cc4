"""The older files of TensorFlow Federated: HDF5, a file for each split, ``/examples/<client>/tokens``."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
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
    with ExitStack() as open_files:
        contents = {file: open_files.enter_context(opened(h5py, file)) for file in files}
        ids = {file: _ids(h5py, file, content) for file, content in contents.items()}
        if part.is_bounded:
            wanted = _chosen(h5py, contents, ids, part)
        else:
            wanted = needed({_key(file, id) for file in files for id in ids[file]}, part)
        for file, content in contents.items():
            for id in ids[file]:
                if _key(file, id) in wanted:
                    yield ClientTexts(id, _texts(h5py, file, content, id, part), file.group)


def _may_serve(group: Group | None, part: Part) -> bool:
    return part.held_out is None or group in (None, "train", part.held_out)


def _key(file: SplitFile, id: str) -> Key:
    return file.group, unicodedata.normalize("NFC", id)


def _chosen(
    h5py: ModuleType, contents: Mapping[SplitFile, Any], ids: Mapping[SplitFile, Sequence[str]], part: Part
) -> frozenset[Key]:
    """The clients of a number that is asked for: none without a text takes the place of one with some.

    Only of those who are chosen it is looked up whether they have any.
    """
    left: dict[Key, list[tuple[SplitFile, str]]] = {}
    for file, names in ids.items():
        for id in names:
            left.setdefault(_key(file, id), []).append((file, id))
    seen = set[Key]()
    while not (wanted := needed(left, part)) <= seen:
        for key in wanted - seen:
            if not any(len(_tokens(h5py, file, contents[file], id)) for file, id in left[key]):
                del left[key]
        seen |= wanted
    return wanted


def _ids(h5py: ModuleType, file: SplitFile, content: Any) -> list[str]:
    ids = hdf5_files.names(h5py, file, content, EXAMPLES)
    if ids is None:
        raise HashfedError(
            f"{file.label}: has no group /{EXAMPLES}; needs /{EXAMPLES}/<client>/{TOKENS}, as TFF's"
        )
    return ids


def _texts(h5py: ModuleType, file: SplitFile, content: Any, id: str, part: Part) -> list[str]:
    where, taken = _said(file, id), Taken(part)
    tokens = _tokens(h5py, file, content, id)
    for number, value in enumerate(hdf5_files.values(file, tokens), start=1):
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


def _tokens(h5py: ModuleType, file: SplitFile, content: Any, id: str) -> Any:
    """The data set with a client's texts."""
    where = _said(file, id)
    tokens, kind = hdf5_files.data_set(h5py, file, content, f"{EXAMPLES}/{id}", TOKENS, where)
    with reading(file):
        is_text = h5py.check_string_dtype(tokens.dtype) is not None and tokens.ndim == 1
    if not is_text:
        raise HashfedError(f"{where}: {TOKENS} is {kind}; needs a row of texts")
    return tokens


def _said(file: SplitFile, id: str) -> str:
    return f"{file.label}: client {printable(brief(id))}"
