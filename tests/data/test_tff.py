"""The files of TensorFlow Federated: the same clients and texts as JSON Lines that state the same splits."""

import importlib.util
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from hashfed.cli.main import main
from hashfed.config import make_config
from hashfed.data import ClientTexts, Part, read_texts, stream_texts
from hashfed.data.left_out import LeftOut
from hashfed.errors import HashfedError
from hashfed.tasks.next_word.task import NextWordSettings
from split_texts import Splits, examples, load, load_prepared, write_json_lines
from tff_files import compress, example, feature, field, pack, text, write_hdf5, write_sqlite

SPLITS: Splits = {
    "train": {
        "1": ["how do i sort a list ?", "use sorted ( x )", "it 's well-known", "  ", "a b c d e f g h i j"],
        "22": ["a list of a list", "i do"],
        "zoë": ["naïve use of <URL>"],
    },
    "heldout": {"30": ["do i sort ?", "sort well-known lists"], "40": ["how ?"]},
    "test": {"1": ["a list ?", "sort it"], "9": ["use x ( i )", "how do i use sorted"]},
}
"""Client 1 has texts of earlier years in train, and of later ones in test."""


def hdf5(folder: Path) -> Path:
    pytest.importorskip("h5py", reason="needs the package h5py")
    return write_hdf5(folder / "h5", SPLITS)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "sqlite": lambda folder: write_sqlite(folder / "so.sqlite", SPLITS),
    "sqlite without an index": lambda folder: write_sqlite(folder / "so.sqlite", SPLITS, indexed=False),
    "lzma": lambda folder: compress(write_sqlite(folder / "so.sqlite", SPLITS)),
    "xz": lambda folder: compress(write_sqlite(folder / "so.sqlite", SPLITS), ".xz"),
}
if importlib.util.find_spec("h5py") is not None:
    WRITERS["hdf5"] = hdf5
    WRITERS["archive"] = lambda folder: pack(hdf5(folder), folder / "stackoverflow.tar.bz2")


@pytest.mark.parametrize("held_out", ["test", "validation"])
@pytest.mark.parametrize(
    "data",
    [
        {"tokenizer": "unicode"},
        {"tokenizer": "spaces"},
        {"tokenizer": "spaces", "long_texts": "split", "sentences_per_client": 2},
        {"tokenizer": "ascii", "clients": 2, "held_out_clients": 1, "vocabulary": 4},
        {"tokenizer": "spaces", "tokens_per_client": 8, "clients": 2, "vocabulary": 4},
        {"tokenizer": "spaces", "sentences_per_client": 1, "vocabulary": 5},
    ],
)
def test_every_form_gives_the_examples_of_json_lines(
    data: dict[str, object], held_out: str, tmp_path: Path
) -> None:
    due = examples(load(write_json_lines(tmp_path / "so.jsonl", SPLITS), held_out, **data))
    for name, write in WRITERS.items():
        folder = tmp_path / name
        folder.mkdir()
        assert examples(load(write(folder), held_out, **data)) == due, name


def test_clients_keep_to_their_splits(tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / "so.sqlite", SPLITS)
    found = {item.key: item.texts for item in read_texts(str(path))}
    groups = {"train": "train", "heldout": "validation", "test": "test"}
    due = {
        (groups[split], name): texts for split, clients in SPLITS.items() for name, texts in clients.items()
    }
    assert found == due
    test, validation = load(path), load(path, "validation")
    for data in (test, validation):  # the heldout clients never train, nor are their words counted
        assert [client.name for client in data.train] == ["1", "22", "zoë"]
    assert [client.name for client in test.held_out] == ["test/1", "test/9"]
    assert [client.name for client in validation.held_out] == ["validation/30", "validation/40"]
    assert test.names == validation.names


def tokenizer(data: dict[str, object]) -> str:
    return NextWordSettings.of(make_config({"data": data}).data).tokenizer


def test_words_are_what_is_between_spaces_unless_asked_otherwise(tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / "so.sqlite", SPLITS)
    assert tokenizer({"source": str(path)}) == "spaces"
    assert tokenizer({"source": path}) == "spaces"
    assert tokenizer({"source": str(path), "tokenizer": "unicode"}) == "unicode"
    assert tokenizer({"source": "so.jsonl.gz"}) == "unicode"
    words = {word for texts in SPLITS["train"].values() for text in texts for word in text.split()}
    assert {"well-known", "<URL>", "'s"} < words
    assert set(load(path, vocabulary=len(words)).names.words) == words
    folder = tmp_path / "texts.sqlite"  # a folder of texts is one whatever its name
    folder.mkdir()
    assert tokenizer({"source": str(folder)}) == "unicode"


def test_a_slash_at_the_end_changes_nothing(tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / "so.sqlite", SPLITS)
    assert read_texts(f"{path}/") == read_texts(str(path))


def test_hdf5_in_a_folder_or_an_archive_is_known_by_the_names_of_its_files(tmp_path: Path) -> None:
    folder = hdf5(tmp_path)
    (folder / "stackoverflow_nwp.pkl").write_bytes(b"never read")
    for source in (folder, pack(folder, tmp_path / "a.tar.gz"), pack(folder, tmp_path / "a.tar")):
        assert tokenizer({"source": str(source)}) == "spaces"
        assert len(read_texts(str(source))) == 7
    (folder / "stackoverflow_held_out.h5").write_bytes(b"damaged")
    assert len(load(folder).train) == 3  # who is not needed is not read


def test_what_tff_writes_itself_has_no_splits(tmp_path: Path) -> None:
    clients = {name: ["a b", "b c"] for name in ("alice", "bob", "carol")}
    lines = tmp_path / "so.jsonl"
    lines.write_text("".join(json.dumps({"client": c, "texts": t}) + "\n" for c, t in clients.items()))
    due = examples(load(lines, vocabulary=3))
    path = write_sqlite(tmp_path / "so.sqlite", {"N/A": clients}, indexed=False)
    assert examples(load(path, vocabulary=3)) == due
    assert examples(load(lines, "validation", vocabulary=3, clients=1)) == examples(
        load(path, "validation", vocabulary=3, clients=1)
    )
    pytest.importorskip("h5py", reason="needs the package h5py")
    single = write_hdf5(tmp_path, {"train": clients}) / "stackoverflow_train.h5"
    assert examples(load(single, vocabulary=3)) == due  # alone it has no splits either


def test_only_the_examples_of_chosen_clients_are_read(tmp_path: Path) -> None:
    clients = {f"c{number}": ["a b c", "b c d", "c d e"] for number in range(30)}
    splits = {"train": clients, "heldout": {"h": ["a"]}, "test": clients}
    path = write_sqlite(tmp_path / "so.sqlite", splits)
    part = Part(clients=4, held_out_clients=2, held_out="test", sentences=2, tokenizer="spaces")
    found = read_texts(str(path), part=part)
    assert sorted(item.group or "" for item in found) == ["test"] * 2 + ["train"] * 4
    assert all(item.texts == ["a b c", "b c d"] for item in found)
    chosen = {item.key for item in found}
    with closing(sqlite3.connect(path)) as database, database:
        rows = database.execute("SELECT rowid, split_name, client_id FROM examples").fetchall()
        for row, split, client in rows:
            if (split, client) not in chosen:
                database.execute(
                    "UPDATE examples SET serialized_example_proto = x'ff' WHERE rowid = ?", (row,)
                )
    assert read_texts(str(path), part=part) == found
    with pytest.raises(HashfedError, match=r"no tf\.train\.Example"):
        read_texts(str(path))


@pytest.mark.parametrize("clients", [1, 2, 4])
def test_a_client_without_a_text_takes_nobody_s_place(clients: int, tmp_path: Path) -> None:
    """In memory and prepared, though its name is among the first that would be chosen."""
    names = sorted((f"c{number}" for number in range(6)), key=lambda name: sha256(name.encode()).digest())
    texts = {name: ["a b", "b a"] for name in names} | {names[0]: [], names[1]: [], names[3]: []}
    splits: Splits = {"train": texts, "heldout": {"h": ["a"]}, "test": {"y": ["a b"], "z": []}}
    data = {"vocabulary": 2, "tokenizer": "spaces", "clients": clients, "held_out_clients": 1}
    due = examples(load(write_json_lines(tmp_path / "so.jsonl", splits), "test", **data))
    assert len(due[2]) == min(clients, 3)  # type: ignore[arg-type]
    sources = {"sqlite": write_sqlite(tmp_path / "so.sqlite", splits)}
    if importlib.util.find_spec("h5py") is not None:
        sources["hdf5"] = write_hdf5(tmp_path / "h5", splits)
    for name, source in sources.items():
        assert examples(load(source, "test", **data)) == due, name
        assert examples(load_prepared(source, tmp_path / name, "test", **data)) == due, name


def test_a_split_without_a_client_is_told_apart_from_the_split_by_name(tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / "so.sqlite", {"train": {"1": ["a b"]}})
    with pytest.raises(HashfedError, match=r"of 1 clients none is a test client .as the source states.$"):
        load(path, vocabulary=1)


def refused(source: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command line refuses a source."""
    assert main(["data", "describe", "--data.source", str(source), "--data.vocabulary", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hashfed: ")
    return line.removeprefix("hashfed: ")


def changed(path: Path, *statements: str, splits: Splits = SPLITS) -> Path:
    """A file in which statements of SQL have changed something."""
    write_sqlite(path, splits)
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)
    return path


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DROP TABLE examples", "has no table examples; needs those of TFF"),
        ("DROP TABLE client_metadata", "has no table client_metadata"),
        (
            "ALTER TABLE client_metadata RENAME num_examples TO n",
            "client_metadata has no column num_examples",
        ),
        (
            "ALTER TABLE examples RENAME serialized_example_proto TO proto",
            "its table examples has no column serialized_example_proto",
        ),
        (
            "UPDATE client_metadata SET split_name = 'dev'",
            "the split_name 'dev'; known are train, validation,",
        ),
        (
            "UPDATE client_metadata SET split_name = 'N/A' WHERE split_name = 'test'",
            r"has clients of the split train and others of none .N/A.",
        ),
        ("UPDATE client_metadata SET client_id = x'00'", r"has the client_id b'\x00'; needs text"),
        ("UPDATE client_metadata SET num_examples = 'many'", "num_examples of client 1 is 'many'"),
        ("INSERT INTO client_metadata VALUES ('1', 'train', 5)", "has client 1 of train twice"),
        (
            "DELETE FROM examples WHERE client_id = '22'",
            "client 22 (train) has 0 examples, but 2 by client_m",
        ),
        ("DELETE FROM client_metadata", "holds no client with a text"),
        ("UPDATE examples SET serialized_example_proto = 7", "example 1 of client 1 (train) is 7, not bytes"),
        (
            "UPDATE examples SET serialized_example_proto = substr(serialized_example_proto, 1, 99)",
            "example 1 of client 1 (train) no tf.train.Example, or cut off",
        ),
        (
            f"UPDATE examples SET serialized_example_proto = x'{example('').hex()}' WHERE client_id = '22'",
            "",
        ),
        (
            f"UPDATE examples SET serialized_example_proto = x'{field(1, feature('x', text('y'))).hex()}'",
            "example 1 of client 1 (train) has no feature tokens",
        ),
        (
            f"UPDATE examples SET serialized_example_proto = x'{example(chr(0)).hex()}'",
            "example 1 of client 1 (train) holds the control character U+0000",
        ),
    ],
)
def test_a_damaged_sqlite_file_is_one_line(
    statement: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(tmp_path / "so.sqlite", statement)
    if not problem:  # texts without a word are no damage
        assert [client.name for client in load(path).train] == ["1", "zoë"]
        return
    line = refused(path, capsys)
    assert str(path) in line
    assert problem.replace(".N/A.", "(N/A)") in line


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "DELETE FROM examples WHERE client_id = '22'",
            "client 22 (train) has 0 examples, but 2 by client_m",
        ),
        (
            "INSERT INTO examples SELECT * FROM examples WHERE client_id = '9'",
            "9 (test) has 4 examples, but 2 by",
        ),
        (
            "UPDATE examples SET serialized_example_proto = x'00' WHERE rowid = 7",
            "example 4 of client 1 (train) no tf.train.Example",
        ),
    ],
)
def test_a_damaged_sqlite_file_that_is_read_in_one_pass_is_one_line(
    statement: str, problem: str, tmp_path: Path
) -> None:
    path = changed(tmp_path / "so.sqlite", statement)
    with pytest.raises(HashfedError) as found:
        list(stream_texts(str(path), "data.source", None, LeftOut()))
    assert str(found.value).startswith(f"{path}: ")
    assert problem in str(found.value)


def test_examples_of_clients_that_the_file_does_not_list_are_passed_over(tmp_path: Path) -> None:
    """Between those of a client, and before it."""
    path = write_sqlite(tmp_path / "so.sqlite", {"train": {"1": ["a", "b"], "2": ["c"]}})
    expected = list(stream_texts(str(path), "data.source", None, LeftOut()))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE examples SET rowid = 10 * rowid")
        for row in (1, 15, 25, 35):
            for number, pair in enumerate([("train", "3"), ("test", "1")]):
                database.execute(
                    "INSERT INTO examples (rowid, split_name, client_id, serialized_example_proto) "
                    "VALUES (?, ?, ?, ?)",
                    (row + number, *pair, b"\xff"),
                )
    assert list(stream_texts(str(path), "data.source", None, LeftOut())) == expected


def test_a_database_that_is_being_written_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sqlite(tmp_path / "so.sqlite", SPLITS)
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0))
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert refused(path, capsys) == f"{path}: in use, another process writes it (database is locked)"
        database.rollback()
    assert len(load(path).train) == 3


def test_files_that_are_something_else_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_sqlite(tmp_path / "good.sqlite", SPLITS)
    content = good.read_bytes()
    cases: dict[str, tuple[bytes, str]] = {
        "empty.sqlite": (b"", "neither an SQLite nor an HDF5 file by its first bytes; damaged?"),
        "json.sqlite": (b'{"client": "a", "texts": ["x"]}\n', "neither an SQLite nor an HDF5 file"),
        "cut.sqlite": (content[: len(content) // 2], "not an SQLite file, or damaged (database disk image"),
        "header.sqlite": (content[:100], "not an SQLite file, or damaged"),
        "empty.sqlite.lzma": (b"", "damaged or cut off"),
        "plain.sqlite.lzma": (content, "damaged or cut off"),
        "empty.tar.bz2": (b"", "damaged or cut off"),
        "plain.tar.gz": (content, "damaged or cut off"),
    }
    for suffix in (".lzma", ".xz"):
        packed = compress(good, suffix).read_bytes()
        cases[f"cut.sqlite{suffix}"] = packed[: len(packed) // 2], "damaged or cut off"
        (tmp_path / "other").write_bytes(b"something else" * 100)
        other = compress(tmp_path / "other", suffix).read_bytes()
        cases[f"other.sqlite{suffix}"] = other, "holds something else than an SQLite or HDF5 file"
    for name, (data, problem) in cases.items():
        path = tmp_path / name
        path.write_bytes(data)
        line = refused(path, capsys)
        assert line.startswith(f"{path}: "), line
        assert problem in line, line
    assert "no such file or folder" in refused(tmp_path / "none.sqlite.lzma", capsys)


def test_damaged_hdf5_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    h5py = pytest.importorskip("h5py", reason="needs the package h5py")
    folder = hdf5(tmp_path)
    good = folder / "stackoverflow_train.h5"
    content = good.read_bytes()

    def case(change: Callable[[object], None]) -> str:
        good.write_bytes(content)
        with h5py.File(good, "a") as file:
            change(file)
        line = refused(folder, capsys)
        assert line.startswith(f"{good}: client 1") or line.startswith(f"{good}: has"), line
        return line.removeprefix(f"{good}: ")

    def drop(name: str) -> Callable[[object], None]:
        def change(file: object) -> None:
            del file[name]  # type: ignore[attr-defined]

        return change

    def put(value: object) -> Callable[[object], None]:
        def change(file: object) -> None:
            del file["examples/1/tokens"]  # type: ignore[attr-defined]
            file["examples/1/tokens"] = value  # type: ignore[index]

        return change

    assert case(drop("examples")).startswith("has no group /examples; needs /examples/<client>/tokens")
    assert case(drop("examples/1/tokens")) == "client 1 has no data set tokens"
    assert case(put([1, 2])) == "client 1: tokens is int64 of shape (2,); needs a row of texts"
    assert case(put("one text")) == "client 1: tokens is object of shape (); needs a row of texts"
    assert case(put(np.array([b"\xff"]))) == "client 1: example 1 is not UTF-8 (invalid start byte)"

    good.write_bytes(content[: len(content) // 2])
    assert refused(folder, capsys).startswith(f"{good}: not an HDF5 file, or damaged (")
    good.write_bytes(b"")
    assert refused(folder, capsys).startswith(f"{good}: not an HDF5 file, or damaged (")
    with h5py.File(good, "w") as file:
        file.create_group("examples")
    assert refused(folder, capsys).endswith("of 2 clients none is a training client (as the source states)")
    for name in ("stackoverflow_held_out.h5", "stackoverflow_test.h5"):
        (folder / name).unlink()
    assert refused(folder, capsys).endswith("holds no client with a text")
    archive = pack(folder, tmp_path / "a.tar.bz2")
    archive.write_bytes(archive.read_bytes()[:-20])
    assert refused(archive, capsys).startswith(f"{archive}: damaged or cut off (")
    good.unlink()
    line = refused(pack(folder, tmp_path / "empty.tar.bz2"), capsys)
    assert "holds none of TFF's files stackoverflow_train.h5, " in line


def test_without_h5py_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    path = tmp_path / "so.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    assert refused(path, capsys) == (
        f"data.source = {path}: needs the package h5py (pip install 'hashfed[hdf5]')"
    )


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_unpacked_is_removed(whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, data = tmp_path / "space", tmp_path / "data"
    for folder in (space, data):
        folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(space))
    path = compress(write_sqlite(data / "so.sqlite", SPLITS))
    before = sorted(data.iterdir())
    if whole:
        assert len(load(path).train) == 3
    else:
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(HashfedError, match="damaged or cut off"):
            load(path)
    assert list(space.iterdir()) == []
    assert sorted(data.iterdir()) == before


def test_a_full_disk_is_told_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compress(write_sqlite(tmp_path / "so.sqlite", SPLITS))
    real = Path.open

    def open_full(self: Path, mode: str = "r", buffering: int = -1) -> object:
        return real(Path("/dev/full") if self.name == "content" and mode == "wb" else self, mode, buffering)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(HashfedError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: cannot be unpacked to ")
    assert "(No space left on device); set TMPDIR to a folder with room, or unpack it" in str(caught.value)


def test_some_clients_with_a_split_and_some_without_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "so.jsonl"
    path.write_text('{"client": "a", "texts": ["x"], "split": "test"}\n{"client": "b", "texts": ["y"]}\n')
    with pytest.raises(HashfedError) as caught:
        read_texts(str(path))
    assert str(caught.value) == (
        f"data.source = {path}: the split of client 'a' is stated, but not that of 'b'; state it for all or "
        "for none"
    )


@pytest.mark.parametrize("split", ["dev", 3, None, ["train"]])
def test_a_split_of_json_lines_is_one_of_three(split: object, tmp_path: Path) -> None:
    path = tmp_path / "so.jsonl"
    path.write_text(json.dumps({"client": "a", "texts": ["x"], "split": split}) + "\n")
    with pytest.raises(
        HashfedError, match=r'line 1: "split" = .*: must be one of train, validation, heldout,'
    ):
        read_texts(str(path))


def test_lines_of_one_name_and_split_are_one_client(tmp_path: Path) -> None:
    path = tmp_path / "so.jsonl"
    lines = [("a", "1", "train"), ("a", "2", "heldout"), ("a", "3", "train"), ("a", "4", "validation")]
    path.write_text("".join(json.dumps({"client": c, "texts": [t], "split": s}) + "\n" for c, t, s in lines))
    assert read_texts(str(path)) == [
        ClientTexts("a", ["1", "3"], "train"),
        ClientTexts("a", ["2", "4"], "validation"),
    ]
