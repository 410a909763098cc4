import hashlib
from pathlib import Path

import pytest

from counted_store import Counted
from hashfed.engines.slice_store import CachedSource, FolderStore, MemoryStore, WebSource, open_source
from hashfed.errors import HashfedError
from hashfed.federated.slices import Wanted

DATA = b"a slice"
ADDRESS = hashlib.sha256(DATA).hexdigest()
WANTED = Wanted(ADDRESS, len(DATA))


def test_a_folder_holds_slices_by_their_hash(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert store.put(DATA) == ADDRESS
    path = tmp_path / ADDRESS[:2] / ADDRESS[2:]
    assert path.read_bytes() == DATA
    assert store.get(WANTED) == DATA
    # What is there is not written again.
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert store.put(DATA) == ADDRESS
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_folder_is_cleared_of_slices_and_of_nothing_else(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    kept, old = store.put(DATA), store.put(b"old")
    others = [tmp_path / "readme", tmp_path / "ab" / "notes", tmp_path / "zz" / ("0" * 62)]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    half = tmp_path / kept[:2] / f".{kept[2:]}.new"
    half.write_bytes(b"a sl")
    store.keep({kept})
    assert not half.exists()
    assert store.get(WANTED) == DATA
    assert not (tmp_path / old[:2]).exists()
    assert all(path.read_text() == "mine" for path in others)
    with pytest.raises(HashfedError, match="cannot be read"):
        store.get(Wanted(old, 3))


def test_each_slice_is_fetched_from_memory_once() -> None:
    store = MemoryStore()
    assert store.put(DATA) == store.put(DATA) == ADDRESS
    assert len(store.slices) == 1
    counted = Counted(store)
    source = CachedSource(counted)
    assert source.fetch([WANTED, WANTED]) == [DATA, DATA]
    assert (counted.requests, counted.served, source.fetched) == (1, 7, 7)
    source.keep(set())
    assert source.get(WANTED) == DATA
    assert (counted.requests, counted.served, source.fetched) == (2, 14, 14)
    store.keep(set())
    with pytest.raises(HashfedError, match="not in this store"):
        store.get(WANTED)


@pytest.mark.parametrize("written", [b"b slice", b"a slice and more", b"a", b""])
def test_a_slice_that_was_changed_is_refused(tmp_path: Path, written: bytes) -> None:
    store = FolderStore(tmp_path)
    store.put(DATA)
    (tmp_path / ADDRESS[:2] / ADDRESS[2:]).write_bytes(written)
    # Never more is read than one byte beyond what was asked for.
    assert len(store.get(WANTED)) <= WANTED.size + 1
    source = CachedSource(store)
    message = "its bytes were changed" if len(written) == 7 else r"bytes came: must be 7"
    with pytest.raises(HashfedError, match=f"slice {ADDRESS}: .*{message}"):
        source.get(WANTED)
    assert source.kept == {}


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 62 + "/x"])
def test_an_address_is_no_path(tmp_path: Path, address: str) -> None:
    for source in (FolderStore(tmp_path), WebSource("http://127.0.0.1:9/")):
        with pytest.raises(HashfedError, match=r"slice address = .*: must be 64 digits"):
            source.get(Wanted(address, 1))


def test_sources() -> None:
    assert open_source("https://host/slices") == WebSource("https://host/slices")
    assert open_source("runs/slices") == open_source("runs/slices/") == FolderStore(Path("runs/slices"))
    with pytest.raises(HashfedError, match=r"^http://127\.0\.0\.1:9/.*: cannot be fetched \("):
        WebSource("http://127.0.0.1:9").get(WANTED)
