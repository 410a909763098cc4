"""The HDF5 file of pfl-research: sentences as ids, with their vocabulary.

    /{train,val,test}/<client>/targets    int32 (n, T): ids of words, EOS after them, then PAD
    /metadata/vocabulary/"<word>"         its id; the quotation marks are part of the name
    /metadata/{pad_symbol,unk_symbol}     ids

PAD is 0, words are 1 to V, then come UNK, BOS and EOS. Of inputs and targets the latter have every word.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from hashfed.data import hdf5_files
from hashfed.data.client_texts import UNKNOWN, ClientTexts, Group
from hashfed.data.hdf5_files import opened, reading
from hashfed.data.splits import SplitFile
from hashfed.data.text_files import control_problem
from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

SPLITS: dict[str, Group] = {"train": "train", "val": "validation", "test": "test"}
TARGETS, METADATA, VOCABULARY = "targets", "metadata", "metadata/vocabulary"
ENDS = ("BOS", "EOS")
"""Names of ids in the vocabulary that are no words, besides those of ``pad_symbol`` and ``unk_symbol``."""


def stream_pfl(file: SplitFile) -> Iterator[ClientTexts]:
    """The clients of a file, one by one: sentences with a space between words, the unknown ones ``<oov>``.

    Raises:
        HashfedError: where h5py is missing, or the file is damaged or of another layout.

    """
    h5py = hdf5_files.library(file.label)
    with opened(h5py, file) as content:
        words = _words(h5py, file, content)
        found = False
        for split, group in SPLITS.items():
            names = hdf5_files.names(h5py, file, content, split)
            found = found or names is not None
            for name in names or ():
                yield ClientTexts(name, _texts(h5py, file, content, f"{split}/{name}", words), group)
        if not found:
            raise HashfedError(f"{file.label}: has none of the groups /{', /'.join(SPLITS)}")


def _words(h5py: Any, file: SplitFile, content: Any) -> Mapping[int, str | None]:
    """Words by their ids; None for ids that are none."""
    found: dict[int, str | None] = {}
    with reading(file):
        group = content.get(VOCABULARY)
        fits = isinstance(group, h5py.Group)
        ids: list[tuple[str | bytes, Any]] = []
        if fits:  # a word with a slash lies in a group of its own
            group.visititems(
                lambda name, item: ids.append((name, item[()])) if isinstance(item, h5py.Dataset) else None
            )
        special = {name: content[METADATA][name][()] for name in ("pad_symbol", "unk_symbol") if fits}
    if not fits:
        raise HashfedError(f"{file.label}: has no group /{VOCABULARY}, as pfl-research's")
    for name, value in ids:
        where = f"{file.label}: its vocabulary"
        if isinstance(name, bytes):  # as h5py has what is not UTF-8
            raise HashfedError(f"{where}: the word {shown(name)} is not UTF-8")
        word, id = name.removeprefix('"').removesuffix('"'), _id(value)
        if id is None or not word or control_problem(word) is not None or len(word.split()) != 1:
            raise HashfedError(f"{where}: the word {shown(word)} with the id {shown(value)} is none")
        if id in found:
            raise HashfedError(f"{where} has the id {id} twice, of {shown(found[id])} and {shown(word)}")
        found[id] = word
    for id in [id for id, word in found.items() if word in ENDS]:
        found[id] = None
    for name, value in special.items():
        id = _id(value)
        if id is None:
            raise HashfedError(f"{file.label}: its {name} is {shown(value)}")
        found[id] = UNKNOWN if name == "unk_symbol" else None
    return found


def _id(value: Any) -> int | None:
    """A number that HDF5 has as one of numpy's."""
    try:
        return int(value) if value == int(value) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _texts(h5py: Any, file: SplitFile, content: Any, name: str, words: Mapping[int, str | None]) -> list[str]:
    where = f"{file.label}: client {printable(brief(name))}"
    data, kind = hdf5_files.data_set(h5py, file, content, name, TARGETS, where)
    with reading(file):
        is_ids = data.dtype.kind in "iu" and data.ndim == 2
    if not is_ids:
        raise HashfedError(f"{where}: {TARGETS} is {kind}; needs rows of ids")
    texts = []
    for number, row in enumerate(hdf5_files.values(file, data), start=1):
        try:
            texts.append(" ".join(word for id in row if (word := words[id]) is not None))
        except KeyError as error:
            raise HashfedError(f"{where}: sentence {number} has the id {error}, of no word") from None
    return texts
