"""Indexes in files: what is dear to build, and which rows it was built of.

One safetensors file: arrays, and a JSON header with the settings, the seed and digests of rows and counts.
The rows themselves are not in it; a file loads only beside the rows that it was saved with.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.retrieval.protocol import Index
from hashfed.retrieval.registry import RESTORE, build_index
from hashfed.retrieval.settings import RetrievalSettings

FORMAT = "hashfed index 1"

NOT_OF_THE_INDEX = ("refresh", "counts")
"""Settings that say when an index is built and of which counts, not what it is."""


@runtime_checkable
class Saveable(Protocol):
    """An index with something worth saving; the registry knows how it is restored."""

    def state(self) -> dict[str, torch.Tensor]:
        """What took time to build."""
        ...


def save_index(
    path: Path, index: Index, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
) -> None:
    """Write ``index``, which ``build_index(rows, settings, prior, seed)`` made, or a refresh of it.

    Raises:
        HashfedError: where the file cannot be written; an older one is then as it was.

    """
    state = index.state() if isinstance(index, Saveable) else {}
    header = {
        "format": FORMAT,
        "settings": settings.model_dump_json(),
        "seed": str(seed),
        "rows": digest(rows.numpy()),
        "counts": digest(np.asarray(prior, np.float64)),
        "shape": json.dumps(list(rows.shape)),
    }
    write_atomically(path, save({name: value.contiguous() for name, value in state.items()}, header))


def load_index(
    path: Path, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
) -> Index:
    """The index of ``save_index``, over the same rows.

    Raises:
        HashfedError: where the file is no index or damaged, or of another model, other counts, settings or
            another seed than those given.

    """
    header, tensors = _read(path)
    shape = tuple(rows.shape)
    if header["rows"] != digest(rows.numpy()):
        there = tuple(json.loads(header["shape"]))
        what = f"{there} rows, here {shape}" if there != shape else "rows of the same shape, other values"
        raise HashfedError(f"{path}: index of another model ({what})")
    if header["counts"] != digest(np.asarray(prior, np.float64)):
        raise HashfedError(f"{path}: index with other label counts than these")
    there = json.loads(header["settings"])
    for name, value in json.loads(settings.model_dump_json()).items():
        if there.get(name) != value and name not in NOT_OF_THE_INDEX:
            raise HashfedError(f"{path}: index with retrieval.{name} = {there.get(name)!r}, here {value!r}")
    if header["seed"] != str(seed):
        raise HashfedError(f"{path}: index with seed = {header['seed']}, here {seed}")
    restore = RESTORE.get(settings.method)
    if restore is None:
        return build_index(rows, settings, prior, seed)
    try:
        return restore(rows, settings, prior, seed, tensors)
    except (HashfedError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise HashfedError(f"{path}: damaged index ({type(error).__name__}: {error})") from None


def digest(array: np.ndarray) -> str:
    """A checksum of the values of ``array``."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _read(path: Path) -> tuple[Mapping[str, Any], dict[str, torch.Tensor]]:
    """Header and arrays of an index file."""
    try:
        data = path.read_bytes()
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    except OSError as error:
        raise HashfedError(f"{path}: {error.strerror or error}") from None
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise HashfedError(f"{path}: no index file, or a damaged one ({type(error).__name__})") from None
    needed = {"format", "settings", "seed", "rows", "counts", "shape"}
    if header.get("format") != FORMAT or not needed <= set(header):
        raise HashfedError(f"{path}: no index file of this version of hashfed")
    return header, tensors
