"""Files of other libraries: the same clients and texts as JSON Lines of the same texts."""

import gzip
import importlib.util
import json
import pickle
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import format_files as files
from hashfed.cli.main import main
from hashfed.config import make_config
from hashfed.data import read_texts, stream_texts
from hashfed.data.client_texts import ClientTexts, Key
from hashfed.data.left_out import LeftOut
from hashfed.data.pieces import MOST_TEXTS
from hashfed.errors import HashfedError
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import OOV
from split_texts import Splits, examples, load, load_prepared, write_json_lines
from tff_files import write_hdf5, write_sqlite

SPLITS: Splits = {
    "train": {
        "1": ["how do i sort a list ?", "use sorted ( x )", "it 's well-known", "a b c d e f g h i j k l"],
        "22": ["a list of a list", "i do"],
        "zoë": ["naïve use of <URL> \N{GRINNING FACE}"],
    },
    "validation": {"30": ["do i sort ?", "sort well-known lists"], "40": ["how ?"]},
    "test": {"1": ["a list ?", "sort it"], "9": ["use x ( i )", "how do i use sorted"]},
}
WORDS = sorted(
    {
        word
        for clients in SPLITS.values()
        for texts in clients.values()
        for text in texts
        for word in text.split()
    }
)
INSTALLED = {
    name: importlib.util.find_spec(name) is not None for name in ("h5py", "ijson", "msgpack", "pyarrow")
}
Writer = Callable[[Path], Path]


def gzipped(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


ALL: dict[str, tuple[str, Writer]] = {
    "fedjax": ("msgpack", lambda folder: files.write_fedjax(folder, SPLITS)),
    "pfl": ("h5py", lambda folder: files.write_pfl(folder / "stackoverflow.hdf5", SPLITS, WORDS)),
    "leaf": ("ijson", lambda folder: files.write_leaf(folder, SPLITS)),
    "flute": ("ijson", lambda folder: files.write_flute_json(folder, SPLITS)),
    "flute hdf5": ("h5py", lambda folder: files.write_flute_hdf5(folder, SPLITS)),
    "datasets": ("pyarrow", lambda folder: files.write_datasets(folder, SPLITS)),
    "partitions": ("pyarrow", lambda folder: files.write_partitions(folder, SPLITS)),
    "parquet": ("pyarrow", lambda folder: files.write_parquet(folder, SPLITS)),
    "csv": ("csv", lambda folder: files.write_csv(folder / "a.csv", SPLITS)),
    "tsv": ("csv", lambda folder: gzipped(files.write_csv(folder / "a.tsv", SPLITS, "\t"))),
}
WRITERS = {name: write for name, (package, write) in ALL.items() if INSTALLED.get(package, True)}
CUT = {"fedjax", "pfl", "leaf", "flute hdf5"}
"""Those whose words are between spaces by default."""


def texts_of(source: Path, **options: Any) -> dict[Key, list[str]]:
    return {item.key: item.texts for item in read_texts(str(source), **options)}


def settings(**data: object) -> NextWordSettings:
    return NextWordSettings.of(make_config({"data": data}).data)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_texts_and_examples_of_json_lines(name: str, tmp_path: Path) -> None:
    lines = write_json_lines(tmp_path / "so.jsonl", SPLITS)
    (tmp_path / "source").mkdir()
    source = WRITERS[name](tmp_path / "source")
    assert texts_of(source) == texts_of(lines)
    assert settings(source=str(source)).tokenizer == ("spaces" if name in CUT else "unicode")
    cases: tuple[tuple[str, dict[str, object]], ...] = (
        ("test", {}),
        ("validation", {"clients": 2, "tokens_per_client": 8, "vocabulary": 4}),
        ("test", {"long_texts": "split", "sentences_per_client": 1}),
    )
    for number, (held_out, some) in enumerate(cases):
        data = {**some, "tokenizer": "spaces"}
        expected = examples(load(lines, held_out, **data))
        assert examples(load(source, held_out, **data)) == expected
        assert examples(load_prepared(source, tmp_path / f"prepared-{number}", held_out, **data)) == expected


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_that_is_named_is_the_one_that_is_recognised(name: str, tmp_path: Path) -> None:
    source, kind = WRITERS[name](tmp_path), name.partition(" ")[0]
    kind = {"partitions": "datasets", "tsv": "csv"}.get(kind, kind)
    assert texts_of(source, format=kind) == texts_of(source)
    assert settings(source=str(source), format=kind).format == kind


def test_flute_splits_its_texts_at_spaces_where_it_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    source = files.write_flute_json(tmp_path / "f", SPLITS)
    assert settings(source=str(source), format="flute").tokenizer == "spaces"
    assert settings(source=str(source), format="leaf").tokenizer == "unicode"


def test_files_alone_state_no_split(tmp_path: Path) -> None:
    pytest.importorskip("msgpack")
    path = files.write_fedjax_file(tmp_path / "stackoverflow_train.sqlite", SPLITS["train"])
    assert {group for group, _ in texts_of(path)} == {None}
    assert texts_of(tmp_path) == texts_of(path)  # nor one split alone
    files.write_fedjax_file(tmp_path / "more.sqlite", {"a": ["x"]})
    files.write_fedjax_file(tmp_path / "stackoverflow_test.sqlite", {"b": ["x"]})
    with pytest.raises(HashfedError) as caught:
        read_texts(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}: the split of stackoverflow_test.sqlite is stated by its name, but not that of "
        "more.sqlite; state it for all or for none"
    )


# what is a piece


def test_a_client_comes_in_pieces_that_are_small(tmp_path: Path) -> None:
    many = [f"w{number}" for number in range(2 * MOST_TEXTS + 5)]
    lines = write_json_lines(tmp_path / "a.jsonl", {"train": {"a": many, "b": ["x"]}})
    table = files.write_csv(tmp_path / "a.csv", {"train": {"a": many, "b": ["x"]}})
    sqlite = write_sqlite(tmp_path / "a.sqlite", {"train": {"a": many, "b": ["x"]}})
    for source in (lines, table, sqlite):
        pieces = list(stream_texts(str(source), "data.source", None, LeftOut()))
        assert max(len(piece.texts) for piece in pieces) == MOST_TEXTS
        joined: dict[Key, list[str]] = {}
        for piece in pieces:
            joined.setdefault(piece.key, []).extend(piece.texts)
        assert joined == {("train", "a"): many, ("train", "b"): ["x"]}


def test_texts_of_clients_in_turn_wait_for_each_other_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = {name: [f"{name} {number}" for number in range(4)] for name in "abc"}
    source = write_sqlite(tmp_path / "a.sqlite", {"N/A": clients})

    def pieces() -> list[ClientTexts]:
        return list(stream_texts(str(source), "data.source", None, LeftOut()))

    assert pieces() == [ClientTexts(name, texts) for name, texts in clients.items()]
    monkeypatch.setattr("hashfed.data.pieces.MOST_HELD", 6)
    assert [(piece.client, len(piece.texts)) for piece in pieces()] == [(name, 2) for name in "abcabc"]
    monkeypatch.setattr("hashfed.data.pieces.MOST_CHARACTERS", 5)  # of two texts
    assert sum(len(piece.texts) for piece in pieces()) == 12
    assert max(len(piece.texts) for piece in pieces()) == 1


def test_names_of_pieces_are_composed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"client": "zoe\u0308", "texts": ["x"]}) + "\n")
    (piece,) = stream_texts(str(path), "data.source", None, LeftOut())
    assert piece == ClientTexts("zo\u00eb", ["x"])


def test_a_stream_of_every_format_joins_to_what_is_read_whole(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        (tmp_path / name).mkdir()
        source = write(tmp_path / name)
        joined: dict[Key, list[str]] = {}
        for piece in stream_texts(str(source), "data.source", None, LeftOut()):
            joined.setdefault(piece.key, []).extend(piece.texts)
        assert joined == texts_of(source), name


COMPOSED, APART = "zo\u00eb", "zoe\u0308"
ONE_NAME: Splits = {
    "train": {APART: ["a b", "c d", "e f"], COMPOSED: ["b c", "d e"], "x": ["a"]},
    "heldout": {"y": ["a"]},
    "test": {"z": ["b"]},
}
NAMES: Splits = {{"heldout": "validation"}.get(split, split): ONE_NAME[split] for split in ONE_NAME}
BY_CLIENT = ["a b", "c d", "e f", "b c", "d e"]
BY_ROW = ["a b", "b c", "c d", "d e", "e f"]
TWO_IDS: dict[str, tuple[str, list[str], Writer]] = {
    "sqlite": ("sqlite3", BY_ROW, lambda folder: write_sqlite(folder / "a.sqlite", ONE_NAME)),
    "sqlite without an index": (
        "sqlite3",
        BY_ROW,
        lambda folder: write_sqlite(folder / "a.sqlite", ONE_NAME, indexed=False),
    ),
    "hdf5": ("h5py", BY_CLIENT, lambda folder: write_hdf5(folder, ONE_NAME)),
    "fedjax": ("msgpack", BY_CLIENT, lambda folder: files.write_fedjax(folder, NAMES)),
    "pfl": ("h5py", BY_CLIENT, lambda folder: files.write_pfl(folder / "a.hdf5", NAMES, list("abcdef"))),
    "leaf": ("ijson", BY_CLIENT, lambda folder: files.write_leaf(folder, NAMES)),
    "flute hdf5": ("h5py", BY_CLIENT, lambda folder: files.write_flute_hdf5(folder, NAMES)),
    "datasets": ("pyarrow", BY_ROW, lambda folder: files.write_datasets(folder, NAMES)),
    "parquet": ("pyarrow", BY_ROW, lambda folder: files.write_parquet(folder, NAMES)),
    "csv": ("csv", BY_ROW, lambda folder: files.write_csv(folder / "a.csv", NAMES)),
}


@pytest.mark.parametrize("name", TWO_IDS)
def test_two_ids_that_are_one_name_are_one_client_in_the_order_of_the_file(name: str, tmp_path: Path) -> None:
    """In memory and prepared, whatever the format: as lines of JSON Lines would be."""
    package, due, write = TWO_IDS[name]
    pytest.importorskip(package)
    (tmp_path / "source").mkdir()
    source = write(tmp_path / "source")
    lines = write_json_lines(tmp_path / "a.jsonl", {**NAMES, "train": {COMPOSED: due, "x": ["a"]}})
    assert texts_of(source) == texts_of(lines)
    cases: tuple[dict[str, object], ...] = (
        {},
        {"sentences_per_client": 3},
        {"clients": 1, "tokens_per_client": 7},
    )
    for number, some in enumerate(cases):
        data = {"tokenizer": "spaces", "vocabulary": 3, **some}
        expected = examples(load(lines, "test", **data))
        assert examples(load(source, "test", **data)) == expected
        assert examples(load_prepared(source, tmp_path / f"prepared-{number}", "test", **data)) == expected


# pfl-research


def test_a_word_of_pfl_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = files.write_pfl(tmp_path / "so.hdf5", SPLITS, WORDS)
    with h5py.File(path, "a") as file:
        file.create_dataset(b'/metadata/vocabulary/"\xffz"', data=77, dtype="int32")
    with pytest.raises(HashfedError) as caught:
        read_texts(str(path))
    assert str(caught.value) == f"{path}: its vocabulary: the word b'\"\\xffz\"' is not UTF-8"


def test_what_pfl_did_not_know_is_out_of_every_vocabulary(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    clients = {name: ["a strange b", "strange a/b a"] for name in ("alice", "bob", "carol")}
    known = ["a", "b", "a/b"]
    source = files.write_pfl(tmp_path / "so.h5", {"train": clients, "test": {"dora": ["b odd ."]}}, known, 5)
    found = texts_of(source)
    assert found["train", "alice"] == ["a <oov> b", "<oov> a/b a"]
    assert found["test", "dora"] == ["b <oov> <oov>"]
    data = load(source, vocabulary=3)
    assert data.names.words == ("a", "a/b", "b")
    rows = data.held_out[0].examples.columns()["targets"][0].tolist()
    assert rows[:3] == [data.names.ids["b"], OOV, OOV]
    with pytest.raises(HashfedError, match="the training clients have only 3 distinct words"):
        load(source, vocabulary=4)
    with pytest.raises(
        HashfedError, match=r"^data.tokenizer = 'unicode': must be spaces, for the source has"
    ):
        load(source, tokenizer="unicode")


def test_sentences_of_pfl_that_fill_their_row_have_no_end(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    texts = ["a b c d e f", "a b c d e", "a b c d", "a"]
    source = files.write_pfl(tmp_path / "so.hdf5", {"train": {"x": texts}}, list("abcdef"), 5)
    assert texts_of(source) == {("train", "x"): ["a b c d e", "a b c d e", "a b c d", "a"]}


# LEAF


TEXT = (
    "To be, or not to be, that is the question: Whether 'tis nobler in the mind to suffer The slings and "
    "arrows of outrageous fortune, Or to take arms against a sea of troubles"
)


def write_leaf_file(path: Path, user_data: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(files.leaf(user_data)))
    return path


def test_windows_of_leafs_shakespeare_are_texts_again(tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    whole = files.shakespeare(TEXT)
    kept = [number for number in range(len(whole["x"])) if number % 7]
    some = {name: [values[number] for number in kept] for name, values in whole.items()}
    far = {name: [*values[:5], *values[-5:]] for name, values in whole.items()}
    path = write_leaf_file(
        tmp_path / "all_data.json", {"HAMLET": whole, "GHOST": some, "YORICK": far, "one": {"x": [TEXT[:80]]}}
    )
    assert texts_of(path) == {
        (None, "HAMLET"): [TEXT],
        (None, "GHOST"): [TEXT[1:]],
        (None, "YORICK"): [TEXT[:85], TEXT[-85:]],
        (None, "one"): [TEXT[:80]],
    }
    assert settings(source=str(path)).tokenizer == "unicode"


def test_texts_that_are_as_long_as_a_window_stay_apart(tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    texts = [TEXT[:80], "x" * 80, TEXT[1:81], "short"]
    path = write_leaf_file(tmp_path / "a.json", {"a": {"x": texts, "y": list("abcd")}})
    assert texts_of(path) == {(None, "a"): texts}


def test_leaf_with_hierarchies_and_lists_of_words_and_users_without_labels(tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    content = files.leaf(
        {"a": {"y": [1, {"z": [[]]}], "x": [["a", "b"], []]}, "b": ["x y", "z"], "c": {"x": []}}
    )
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"hierarchies": ["PLAY", "b"], **content}).encode()))
    assert texts_of(path) == {(None, "a"): ["a b", ""], (None, "b"): ["x y", "z"]}


def test_a_folder_with_whole_and_split_data_of_leaf_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    files.write_leaf(tmp_path, SPLITS)
    (tmp_path / "all_data").mkdir()
    write_leaf_file(tmp_path / "all_data" / "all_data.json", {"a": {"x": ["x"]}})
    with pytest.raises(HashfedError) as caught:
        read_texts(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}: the split of test/reddit_0_test.json is stated by its name, but not that of "
        "all_data/all_data.json; state it for all or for none"
    )
    assert texts_of(tmp_path / "all_data") == {(None, "a"): ["x"]}


def test_rows_of_words_in_flutes_hdf5_are_texts(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        words = [[b"a", b"b", b"<EOS>"], [b"c", b"<EOS>", b"<PAD>"]]
        file.create_dataset("user_data/ann/x", data=np.array(words, "S9"))
        file.create_dataset("user_data_label/ann", data=[1, 2])
    assert texts_of(path) == {(None, "ann"): ["a b", "c"]}


def test_a_json_file_that_is_no_leaf_is_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    path.write_text('{"client": "a", "texts": ["x"]}\n{"client": "b", "texts": ["y"]}\n')
    assert texts_of(path) == {(None, "a"): ["x"], (None, "b"): ["y"]}


def test_a_client_of_many_texts_comes_in_pieces_as_it_is_read(tmp_path: Path) -> None:
    pytest.importorskip("ijson")
    many = [f"w{number}" for number in range(2 * MOST_TEXTS)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(files.leaf({"a": {"x": many}}))[:-20])
    stream = stream_texts(str(path), "data.source", None, LeftOut())
    assert next(stream) == ClientTexts("a", many[:MOST_TEXTS])
    with pytest.raises(HashfedError, match=r"a.json: in or after client a: damaged, or no JSON \(parse"):
        list(stream)


# tables


def test_columns_by_their_usual_names_or_by_those_that_are_set(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('\ufeffUserID,Body,who,said\r\n1,x,ann,"a, ""b""\nand c"\r\n\r\n2,y,bob,d\r\n1,z,ann,e\n')
    assert texts_of(path) == {(None, "1"): ["x", "z"], (None, "2"): ["y"]}
    columns = {"client": "who", "text": "said"}
    assert texts_of(path, columns=columns) == {(None, "ann"): ['a, "b"\nand c', "e"], (None, "bob"): ["d"]}
    data = settings(source=str(path), client_column="who", text_column="said")
    assert data.columns == columns
    lines = write_json_lines(tmp_path / "so.jsonl", SPLITS)
    table = files.write_csv(tmp_path / "b.csv", SPLITS)
    named = {"client_column": "client_id", "text_column": "text"}
    assert examples(load(table, **named)) == examples(load(lines))
    path.write_text("user,tokens\na,x y\n")
    assert settings(source=str(path)).tokenizer == "spaces"
    assert settings(source=str(path), text_column="user").tokenizer == "unicode"


def test_values_of_parquet_may_be_numbers_lists_or_missing(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    clients = pa.array(["a", "b", "a"]).dictionary_encode()
    parquet.write_table(pa.table({"author": clients, "texts": [["x", "y"], None, ["z"]]}), path)
    assert texts_of(path) == {(None, "a"): ["x", "y", "z"]}
    parquet.write_table(pa.table({"user": [7, 8], "sentence": ["x", None]}), path)
    assert texts_of(path) == {(None, "7"): ["x"]}


def test_links_among_saved_data_sets_lead_nowhere(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    files.save_to_disk(tmp_path / "partition_0", {"text": ["x"]})
    (tmp_path / "again").symlink_to(tmp_path)
    assert texts_of(tmp_path) == {(None, "partition_0"): ["x"]}


def test_partitions_are_clients_where_there_is_no_column_of_them(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for number in (0, 2, 10):
        files.save_to_disk(tmp_path / f"partition_{number}", {"text": [f"of {number}", "more"]})
    found = list(stream_texts(str(tmp_path), "data.source", None, LeftOut()))
    assert [item.client for item in found] == ["partition_0", "partition_2", "partition_10"]
    one = tmp_path / "partition_2"
    with pytest.raises(
        HashfedError, match=r"partition_2: no column of the clients; it has text \(name one client"
    ):
        read_texts(str(one))
    assert texts_of(tmp_path, columns={"client": "text", "text": None})[None, "more"] == ["more"] * 3


# what is refused


def refused(source: Path, capsys: pytest.CaptureFixture[str], **data: str) -> str:
    """The one line with which the command line refuses a source."""
    options = [part for name, value in data.items() for part in (f"--data.{name}", value)]
    command = ["data", "describe", "--data.source", str(source), "--data.vocabulary", "1", *options]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hashfed: ")
    return line.removeprefix("hashfed: ")


def test_pickles_are_never_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary = {"vocab": {"a": 1}, "size": 1, "unk_symbol": 0, "pad_symbol": 1}
    lines = write_json_lines(tmp_path / "so.jsonl", SPLITS)
    for name in ("reddit_vocab.pck", "stackoverflow.pkl", "a.pickle", "vocabulary"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(vocabulary))
        assert refused(path, capsys) == (
            f"{path}: a pickle, which is never read, for it may run anything; give the texts as JSON "
            "Lines, or in another format of docs/data.md"
        )
        assert refused(lines, capsys, word_counts=str(path)) == (
            f"data.word_counts = {path}: a pickle, which is never read, for it may run anything; give the "
            "words as text, a line 'word count' for each, most frequent first"
        )


@pytest.mark.parametrize("name", [name for name, (package, _) in ALL.items() if package != "csv"])
def test_a_missing_package_is_named_with_what_installs_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name not in WRITERS:
        pytest.skip("its writer needs a package")
    source, (package, _) = WRITERS[name](tmp_path), ALL[name]
    extra = {"msgpack": "fedjax", "h5py": "hdf5", "ijson": "leaf", "pyarrow": "parquet"}[package]
    kind = "datasets" if name == "partitions" else name.partition(" ")[0]
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(source, capsys, format=kind)
    assert line.startswith(str(tmp_path))
    assert line.endswith(f"needs the package {package} (pip install 'hashfed[{extra}]')")


def test_files_of_several_formats_are_told_apart_by_the_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_csv(tmp_path / "a.csv", SPLITS)
    (tmp_path / "b.json").write_text(json.dumps(files.leaf({"a": {"x": ["x"]}})))
    (tmp_path / "c.json").write_text("{}")
    assert refused(tmp_path, capsys) == (
        f"{tmp_path}: holds files of several formats (csv, leaf); set data.format, or give one of them"
    )
    with pytest.warns(match=r"2 files not read: 2 .json$"):
        assert len(texts_of(tmp_path, format="csv")) == 7
    (tmp_path / "a.txt").write_text("x\n")  # texts come first
    with pytest.warns(match=r"3 files not read: 2 .json, 1 .csv$"):
        assert texts_of(tmp_path) == {(None, "a"): ["x"]}


def test_settings_without_effect_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = write_json_lines(tmp_path / "so.jsonl", SPLITS)
    assert refused(lines, capsys, text_column="texts") == (
        "data.text_column = 'texts': has no effect, format json-lines has no column of the texts"
    )
    sqlite = write_sqlite(tmp_path / "so.sqlite", {"train": {"1": ["a b"]}})
    assert refused(sqlite, capsys, client_column="x").startswith(
        "data.client_column = 'x': has no effect, format tff"
    )
    assert refused(lines, capsys, format="datasets") == (
        f"data.format = datasets: {lines} is a file; must be a folder"
    )
    assert (
        refused(tmp_path, capsys, format="pfl")
        == f"data.format = pfl: {tmp_path} is a folder; must be a file"
    )
    assert refused(lines, capsys, format="zip").startswith(
        "data.format = 'zip': input should be 'json-lines', "
    )
    with pytest.raises(
        HashfedError, match=r"^data.format = csv: has no effect, chitchat is a named data set$"
    ):
        read_texts("chitchat", format="csv")
    with pytest.raises(HashfedError, match="a named data set has no column of the clients"):
        read_texts("chitchat", columns={"client": "a", "text": None})


def change_fedjax(statement: str, *values: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = files.write_fedjax_file(folder / "a.sqlite", {"ann": ["x y", "z"], "bob": ["x"]})
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(statement, values)
        return path

    return write


def change_hdf5(write: Writer, change: Callable[[Any], object]) -> Writer:
    def changed(folder: Path) -> Path:
        import h5py

        path = write(folder)
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return changed


def pfl(folder: Path) -> Path:
    return files.write_pfl(folder / "a.hdf5", {"train": {"ann": ["x y", "y"]}}, ["x", "y"], 3)


def flute(folder: Path) -> Path:
    return files.write_flute_hdf5(folder, {"train": {"ann": ["x y", "y"], "bob": ["x"]}}) / "train_data.hdf5"


def put(name: str, value: object) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value

    return change


def text_file(name: str, content: str | bytes) -> Writer:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def parquet(name: str = "a.parquet", **columns: list[Any]) -> Writer:
    def write(folder: Path) -> Path:
        pa, of = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        of.write_table(pa.table(columns), folder / name)
        return folder / name

    return write


def saved(change: Callable[[Path], object]) -> Writer:
    def write(folder: Path) -> Path:
        path = files.save_to_disk(folder / "d", {"user": ["a", "b"], "text": ["x", "y"]}, 1)
        change(path)
        return path

    return write


def damaged_arrow(path: Path) -> None:
    file = path / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:-100])


LEAF = '{"users": ["a"], "user_data": '
DAMAGED: dict[str, tuple[str, Writer, str]] = {
    "fedjax column": (
        "msgpack",
        change_fedjax("ALTER TABLE federated_data RENAME data TO blob"),
        "a.sqlite: its table federated_data has no column data",
    ),
    "fedjax id": (
        "msgpack",
        change_fedjax("UPDATE federated_data SET client_id = x'ff' WHERE num_examples = 2"),
        r"a.sqlite: the client_id b'\xff' is no text",
    ),
    "fedjax count": (
        "msgpack",
        change_fedjax("UPDATE federated_data SET num_examples = 3 WHERE num_examples = 1"),
        "a.sqlite: client bob has 1 texts, but 3 by num_examples; damaged?",
    ),
    "fedjax bytes": (
        "msgpack",
        change_fedjax("UPDATE federated_data SET data = x'ffff'"),
        "a.sqlite: client ann: its data are no arrays as FedJAX's, or damaged (Error -3 while decompressing",
    ),
    "fedjax number": (
        "msgpack",
        change_fedjax("UPDATE federated_data SET data = 3"),
        "a.sqlite: client ann: its data are no arrays as FedJAX's, or damaged (3 is not bytes)",
    ),
    "fedjax cut": (
        "msgpack",
        change_fedjax("UPDATE federated_data SET data = substr(data, 1, 60)"),
        "a.sqlite: client ann: its data are no arrays as FedJAX's, or damaged (cut off)",
    ),
    "fedjax feature": (
        "msgpack",
        lambda folder: files.write_fedjax_file(folder / "a.sqlite", {"ann": ["x"]}, "line"),
        "a.sqlite: client ann: no feature with texts; it has creation_date, score, line (set data.text",
    ),
    "pfl vocabulary": (
        "h5py",
        change_hdf5(pfl, put("metadata/vocabulary", None)),
        "a.hdf5: has no group /metadata/vocabulary, as pfl-research's",
    ),
    "pfl symbol": (
        "h5py",
        change_hdf5(pfl, put("metadata/unk_symbol", "x")),
        "a.hdf5: its unk_symbol is b'x'",
    ),
    "pfl id": (
        "h5py",
        change_hdf5(pfl, put("train/ann/targets", np.array([[1, 2, 99]]))),
        "a.hdf5: client train/ann: sentence 1 has the id 99, of no word",
    ),
    "pfl twice": (
        "h5py",
        change_hdf5(pfl, put('metadata/vocabulary/"z"', 1)),
        "a.hdf5: its vocabulary has the id 1 twice, of 'x' and 'z'",
    ),
    "pfl targets": (
        "h5py",
        change_hdf5(pfl, put("train/ann/targets", None)),
        "a.hdf5: client train/ann has no data set targets",
    ),
    "pfl shape": (
        "h5py",
        change_hdf5(pfl, put("train/ann/targets", [1.5])),
        "a.hdf5: client train/ann: targets is float64 of shape (1,); needs rows of ids",
    ),
    "flute ids": (
        "h5py",
        change_hdf5(flute, put("user_data/ann/x", [[1, 2], [2, 0]])),
        "train_data.hdf5: client ann: x holds ids of words without their vocabulary; give the file with",
    ),
    "flute users": (
        "h5py",
        change_hdf5(flute, put("user_data/ann", None)),
        "train_data.hdf5: /users names 2 clients, but /user_data has only 1",
    ),
    "flute shape": (
        "h5py",
        change_hdf5(flute, put("user_data/ann/x", "x")),
        "train_data.hdf5: client ann: x is object of shape (); needs texts, or rows of words",
    ),
    "leaf cut": (
        "ijson",
        text_file("a.json", LEAF + '{"a": {"x": ["q"'),
        "a.json: in or after client a: damaged, or no JSON (parse error",
    ),
    "leaf bytes": (
        "ijson",
        text_file("a.json", b'{"users": ["\xff"]}'),
        "a.json: damaged, or no JSON (lexical error",
    ),
    "leaf nothing": ("ijson", text_file("a.json", '{"users": ["a"]}'), 'a.json: has no "user_data"'),
    "leaf list": ("ijson", text_file("a.json", LEAF + '["a"]}'), 'a.json: "user_data" is no object'),
    "leaf user": (
        "ijson",
        text_file("a.json", LEAF + '{"a": 3}}'),
        "a.json: client a: is neither an object nor a list",
    ),
    "leaf x": ("ijson", text_file("a.json", LEAF + '{"a": {"x": 3}}}'), 'a.json: client a: "x" is no list'),
    "leaf ids": (
        "ijson",
        text_file("a.json", LEAF + '{"a": {"x": [[1, 2]]}}}'),
        'a.json: client a: "x" holds ids of words without their vocabulary; give the file with words',
    ),
    "leaf null": (
        "ijson",
        text_file("a.json", LEAF + '{"a": {"x": ["x", null]}}}'),
        "a.json: client a: text 2 is no text",
    ),
    "leaf nul": (
        "ijson",
        text_file("a.json", LEAF + '{"a": {"x": ["x\\u0000"]}}}'),
        "a.json: client a: text 1 holds the control character U+0000",
    ),
    "leaf deep": (
        "ijson",
        text_file("a.json", LEAF + '{"a": {"y": ' + "[" * 100_000),
        "a.json: in or after client a: has lists or objects nested more than 32 deep",
    ),
    "leaf gzip": (
        "ijson",
        text_file("a.json.gz", gzip.compress(LEAF.encode())[:-4]),
        "json.gz: damaged after line 0 (Comp",
    ),
    "csv column": (
        "csv",
        text_file("a.csv", "who,text\na,x\n"),
        "a.csv: no column of the clients; it has who, text",
    ),
    "csv width": (
        "csv",
        text_file("a.csv", "user,text\na,x,y\n"),
        "a.csv, line 2: ['a', 'x', 'y']: must have 2 columns",
    ),
    "csv quotes": ("csv", text_file("a.csv", 'user,text\na,"x\n\n'), "a.csv, line 3: unexpected end of data"),
    "csv bytes": (
        "csv",
        text_file("a.csv", b"user,text\na,\xff\n"),
        r"a.csv, line 2: b'a,\xff': must be UTF-8 text",
    ),
    "csv nul": (
        "csv",
        text_file("a.csv", "user,text\na,\0\n"),
        "a.csv, line 2: text = '\\x00': holds the control",
    ),
    "csv client": (
        "csv",
        text_file("a.csv", "user,text\n,x\n"),
        "a.csv, line 2: client = '': must be a text or a",
    ),
    "csv split": (
        "csv",
        text_file("a.csv", "user,text,split\na,x,odd\n"),
        "a.csv, line 2: split = 'odd': must be one",
    ),
    "csv mixed": (
        "csv",
        lambda folder: [
            text_file("a.csv", "user,text,split\na,x,test\n")(folder),
            text_file("b.csv", "user,text\nb,x\n")(folder),
            folder,
        ][-1],
        "the split of client 'a' is stated, but not that of 'b'; state it for all or for none",
    ),
    "parquet": ("pyarrow", text_file("a.parquet", b"PAR1" * 9), "a.parquet: no readable Parquet file ("),
    "parquet client": (
        "pyarrow",
        parquet(user=["a", None], text=["x", "y"]),
        "a.parquet, row 2: client = None: must be a text or a whole number",
    ),
    "parquet text": (
        "pyarrow",
        parquet(user=["a"], text=[2.5]),
        "a.parquet, row 1: text = 2.5: must be a text, or a list of texts",
    ),
    "datasets state": (
        "pyarrow",
        saved(lambda path: (path / "state.json").write_text("{")),
        "state.json: damaged, or no JSON",
    ),
    "datasets names": (
        "pyarrow",
        saved(lambda path: (path / "state.json").write_text('{"_data_files": [{"filename": "../x"}]}')),
        'state.json: needs "_data_files", a list with the "filename" of each',
    ),
    "datasets selection": (
        "pyarrow",
        saved(
            lambda path: (path / "state.json").write_text('{"_data_files": [], "_indices_data_files": [1]}')
        ),
        "state.json: a selection of rows of an old version of datasets; save it again with a newer one",
    ),
    "datasets file": (
        "pyarrow",
        saved(lambda path: (path / "data-00000-of-00001.arrow").unlink()),
        "data-00000-of-00001.arrow: No such file or directory",
    ),
    "datasets cut": ("pyarrow", saved(damaged_arrow), "data-00000-of-00001.arrow: no readable Arrow file ("),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_one_line_that_names_file_and_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, write, problem = DAMAGED[name]
    if not INSTALLED.get(package, True):
        pytest.skip(f"needs the package {package}")
    line = refused(write(tmp_path), capsys)
    assert str(tmp_path) in line
    assert problem in line, line


def test_a_packed_file_of_leaf_that_is_cut_off_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ijson")
    texts = [f"w{number * number}" for number in range(20_000)]
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps(files.leaf({"a": {"x": texts}})).encode())[:-20])
    line = refused(path, capsys)
    assert line.startswith(f"{path}: in or after client a: damaged or cut off (Compressed file ended")


def test_ids_without_a_vocabulary_are_refused(tmp_path: Path) -> None:
    msgpack, path = pytest.importorskip("msgpack"), tmp_path / "a.sqlite"
    files.write_fedjax_file(path, {"ann": ["x"]})
    import zlib

    data = zlib.compress(msgpack.packb({"x": files.pack_array(np.array([[1, 5, 2]], np.int32))}))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE federated_data SET data = ?", [data])
    with pytest.raises(HashfedError) as caught:
        read_texts(str(path), columns={"client": None, "text": "x"})
    assert str(caught.value) == (
        f"{path}: client ann: feature x holds numbers; ids without their vocabulary are not read: give the "
        "file with the texts"
    )
