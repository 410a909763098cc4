"""A prepared folder as users meet it: runs, nodes, other settings, damages, and two who make one."""

import errno
import fcntl
import json
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hashfed.cli.main import main
from hashfed.config import load_config, make_config
from hashfed.data import read_texts
from hashfed.data.client_texts import ClientTexts, Group
from hashfed.errors import HashfedError, HashfedWarning
from hashfed.runs import train
from hashfed.tasks.next_word.clients import build_federated_text
from hashfed.tasks.next_word.prepared import cache
from hashfed.tasks.next_word.prepared.build import prepare
from hashfed.tasks.next_word.prepared.check import check_folder
from hashfed.tasks.next_word.prepared.columns import checksum
from hashfed.tasks.next_word.prepared.load import load_prepared
from hashfed.tasks.next_word.prepared.manifest import NAME
from hashfed.tasks.next_word.prepared.new_folder import ThereError, made
from hashfed.tasks.next_word.prepared.word_totals import WordTotals
from hashfed.tasks.next_word.task import NextWord, NextWordSettings
from hashfed.tasks.next_word.vocabulary import Vocabulary
from prepared_texts import data_settings, folder_settings, prepared, texts
from small import small_config, write_texts


def test_a_run_from_a_folder_is_a_run_from_the_texts(tmp_path: Path) -> None:
    """Bit for bit, by processes that map the folder themselves, and after a resume."""
    source = write_texts(tmp_path / "texts.jsonl")
    config = small_config(source, workers=2, output=str(tmp_path / "texts"))
    NextWord(NextWordSettings.of(config.data)).prepare(tmp_path / "folder")
    summary = train(config, measure_memory=False)
    # Nothing of the data need be said again.
    tree = json.loads(config.model_dump_json(exclude={"data"}))
    tree |= {"data": {"source": str(tmp_path / "folder")}, "output": str(tmp_path / "mapped")}
    mapped = make_config(tree)
    train(mapped.model_copy(update={"rounds": 2}), measure_memory=False)
    again = train(mapped, measure_memory=False)
    assert again["evaluation"] == summary["evaluation"]
    for name in ("metrics.jsonl", "data.json", "vocabulary.json"):
        assert (tmp_path / "mapped" / name).read_bytes() == (tmp_path / "texts" / name).read_bytes()


def test_a_run_from_a_table_goes_on_from_the_folder_that_was_made_of_it(tmp_path: Path) -> None:
    """A folder has no columns to name, and its numbers are the same."""
    source = tmp_path / "texts.csv"
    rows = [f"{one.client},{text}" for one in texts() for text in one.texts]
    source.write_text("\n".join(["who,said", *rows]) + "\n")
    columns = {"client_column": "who", "text_column": "said"}
    config = small_config(source, data={"source": str(source), "vocabulary": 5, **columns})
    config = config.model_copy(update={"output": str(tmp_path / "run"), "rounds": 1})
    NextWord(NextWordSettings.of(config.data)).prepare(tmp_path / "folder")
    train(config, measure_memory=False)
    folder = config.data.model_copy(update={"source": str(tmp_path / "folder"), **dict.fromkeys(columns)})
    assert train(config.model_copy(update={"data": folder, "rounds": 2}), measure_memory=False)["rounds"] == 2


def test_a_folder_is_made_with_the_settings_of_a_run_s_configuration(tmp_path: Path) -> None:
    source, config = write_texts(tmp_path / "texts.jsonl"), tmp_path / "config.yaml"
    config.write_text(f"data: {{source: {source}, vocabulary: 30, sentences_per_client: 3}}\nrounds: 1\n")
    folder = str(tmp_path / "folder")
    command = ["data", "prepare", str(source), folder, "--config", str(config), "--data.vocabulary", "31"]
    assert main(command) == 0
    found = load_config(config, {"data.source": folder, "data.vocabulary": "31"}).data.build().load("test")
    assert len(found.names.words) == 31
    assert max(len(client.examples) for client in found.train) == 3


def test_other_settings_than_the_folder_s_are_refused(tmp_path: Path) -> None:
    prepared(texts(), data_settings(), tmp_path / "folder")
    source = str(tmp_path / "folder")
    with pytest.raises(HashfedError) as error:
        make_config({"data": {"source": source, "vocabulary": 7}}).data.build().load("test")
    assert str(error.value) == (
        "data.vocabulary = 7: data.source was prepared with 5; leave it out, or prepare the data anew "
        "(hashfed data prepare)"
    )
    counts = tmp_path / "counts"
    counts.write_text("a 1\n")
    with pytest.raises(HashfedError, match=r"data\.word_counts = .*: has no effect with a prepared folder"):
        make_config({"data": {"source": source, "word_counts": str(counts)}}).data.build().load("test")


def test_whom_nobody_can_be_evaluated_on_is_said_when_it_is_asked_for(tmp_path: Path) -> None:
    clients = texts(groups=("train", "test"))
    prepared(clients, data_settings(), tmp_path / "folder")
    assert len(load_prepared(folder_settings(tmp_path / "folder"), "test").held_out) > 0
    with pytest.raises(HashfedError) as error:
        load_prepared(folder_settings(tmp_path / "folder"), "validation")
    assert str(error.value) == (
        "data.source: of 30 clients none is a validation client (as the source states)"
    )


DAMAGES: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("tokens.npy", lambda data: data[:-1], "tokens.npy: damaged"),
    ("tokens.npy", lambda data: b"", "tokens.npy: damaged"),
    ("tokens.npy", lambda data: data.replace(b"<u2", b"<u1"), "tokens.npy: damaged"),
    ("client-ends.npy", lambda data: b"PK" + data[2:], "client-ends.npy: damaged"),
    ("names.npy", lambda data: b"PK\3\4" + data[4:], "names.npy: damaged"),
    ("names.npy", lambda data: data.replace(b"}", b" "), "names.npy: damaged"),
    ("vocabulary.json", lambda data: data.replace(b"a", b"q"), "vocabulary.json: damaged (another checksum"),
    (NAME, lambda data: data[:40], f"{NAME} is damaged"),
    (
        NAME,
        lambda data: data.replace(b'"version": 1', b'"version": 9'),
        "prepared in layout 9, this hashfed reads 1",
    ),
    (NAME, lambda data: data.replace(b'"names"', b'"others"'), f"{NAME} is damaged"),
    (NAME, lambda data: data.replace(b'"own_rows"', b'"own_row"'), "is damaged (facts.test.own_rows: "),
    (NAME, lambda data: b"[" * 100_000, f"{NAME} is damaged"),
]


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGES, ids=range(len(DAMAGES)))
def test_damages_are_said_in_one_line(
    name: str, damage: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    prepared(texts(), data_settings(), folder)
    data = folder_settings(folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(HashfedError) as error:
        load_prepared(data, "test")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read")
def test_a_disk_that_cannot_be_read_is_not_called_damaged_data(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    prepared(texts(), data_settings(), folder)
    data = folder_settings(folder)
    (folder / "tokens.npy").unlink()
    with pytest.raises(HashfedError, match=r"tokens\.npy: cannot be read \(No such file or directory\)$"):
        load_prepared(data, "test")
    unreadable = tmp_path / "unreadable"
    unreadable.symlink_to("/proc/self/mem")
    with pytest.raises(HashfedError, match=r"unreadable: cannot be read \(Input/output error\)$"):
        checksum(unreadable)
    (folder / NAME).unlink()
    (folder / NAME).symlink_to(unreadable)
    with pytest.raises(HashfedError, match=rf"folder: {NAME} cannot be read \(Input/output error\)$"):
        load_prepared(data, "test")


def test_checksums_tell_what_opening_does_not_look_at(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    prepared(texts(), data_settings(), folder)
    assert check_folder(folder) == 9
    path = folder / "tokens.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(HashfedError, match=r"tokens\.npy: damaged \(another checksum"):
        check_folder(folder)


def test_a_node_hosts_the_clients_of_a_folder(tmp_path: Path) -> None:
    clients, data = texts(), data_settings()
    prepared(clients, data, tmp_path / "folder")
    task, names = NextWord(data), build_federated_text(clients, data).names
    hosted = task.encode(task.read(str(tmp_path / "folder"), "texts", "test"), names, "node")
    expected = {key: client for key, client in task.encode(clients, names, "node") if client is not None}
    assert {key for key, _ in hosted} == set(expected)
    for key, client in hosted:
        assert client is not None
        assert client.name == expected[key].name
        for name, values in expected[key].examples.columns().items():
            np.testing.assert_array_equal(client.examples.columns()[name], values)
    with pytest.raises(HashfedError, match="prepared with other words"):
        task.encode(task.read(str(tmp_path / "folder"), "texts", "test"), Vocabulary(tuple("xyzuv")), "node")


def test_a_node_s_clients_are_for_what_the_source_states_whatever_their_names(tmp_path: Path) -> None:
    groups: list[Group] = ["train", "validation", "test"]
    clients = [
        ClientTexts(f"{groups[number // 3 % 3]}/{one.client}", one.texts, groups[number % 3])
        for number, one in enumerate(texts())
    ]
    prepared(clients, data_settings(), tmp_path / "folder")
    task = NextWord(data_settings())
    names = build_federated_text(clients, data_settings()).names
    expected = {key: one.name for key, one in task.encode(clients, names, "node") if one is not None}
    found = task.encode(task.read(str(tmp_path / "folder"), "texts", None), names, "node")
    assert {key: one.name for key, one in found if one is not None} == expected


def test_clients_of_a_folder_are_not_made_one(tmp_path: Path) -> None:
    """Together they would have more words than one client may have, in another order than the texts."""
    data = data_settings()
    prepared(texts(), data, tmp_path / "folder")
    with pytest.raises(HashfedError, match=r"texts = .*: holds 30 clients, .* of one, ann, give the texts"):
        NextWord(data).read(str(tmp_path / "folder"), "texts", None, "ann")


def test_one_at_a_time_and_no_remains(tmp_path: Path) -> None:
    """A folder that another process makes is left alone; what one that was killed left is not in the way."""
    folder = tmp_path / "folder"
    with made(folder) as new:
        (new / "tokens.npy").write_bytes(b"half")
        with pytest.raises(HashfedError, match="another process is making it"):
            prepared(texts(), data_settings(), folder)
        assert (new / "tokens.npy").exists()
        shutil.copytree(new, tmp_path / "left")
    shutil.rmtree(folder)
    (tmp_path / "left").rename(tmp_path / ".folder.preparing")
    prepared(texts(), data_settings(), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    check_folder(folder)


def test_the_lock_is_on_a_file_that_is_open_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems need it; where there are no locks at all it is said in one line."""
    lock = fcntl.flock

    def as_nfs(handle: int, how: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", as_nfs)
    prepared(texts(), data_settings(), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]

    def without(handle: int, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(HashfedError, match=r"\.other\.lock: cannot be locked \(Function not implemented\)$"):
        prepared(texts(), data_settings(), tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_link_to_nothing_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to("nowhere")
    with pytest.raises(ThereError):
        prepare(lambda: pytest.fail("read"), data_settings(), tmp_path / "folder")


def test_a_source_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    source = write_texts(tmp_path / os.fsdecode(b"t\xff.jsonl"))
    NextWord(NextWordSettings(source=str(source), vocabulary=40)).prepare(tmp_path / "folder")
    assert json.loads((tmp_path / "folder" / NAME).read_text())["source"].endswith(r"t\udcff.jsonl")


def test_words_beyond_memory_are_counted_in_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("aé\U0001f600b"), 3)) for _ in range(500)]
    totals = WordTotals(tmp_path, 7)
    for start in range(0, 500, 5):
        totals.add(words[start : start + 5])
    assert len(list(tmp_path.iterdir())) > 5
    found = list(totals)
    assert dict(found) == Counter(words)
    assert found == sorted(found)


def test_numbers_of_words_become_ids_when_all_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [["".join(rng.choice(list("aé\U0001f600b"), 3)) for _ in range(5)] for _ in range(100)]
    totals, numbers = WordTotals(tmp_path, 7), list[int]()
    for place, words in enumerate(texts):
        numbers += totals.add(words, place % 3 > 0)
    assert dict(totals) == Counter(word for place, words in enumerate(texts) if place % 3 for word in words)
    ids = {word: 2 + rank for rank, word in enumerate(sorted({words[0] for words in texts[:9]}))}
    found = totals.ids(ids, 1, np.dtype("<u2"))
    assert found[numbers].tolist() == [ids.get(word, 1) for words in texts for word in words]
    assert found.dtype == np.uint16
    assert len(found) == max(numbers) + 1


def test_a_large_source_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGE", 10)
    monkeypatch.setenv("HASHFED_CACHE", str(tmp_path / "cache"))
    source = write_texts(tmp_path / "texts.jsonl")
    data = NextWordSettings(source=str(source), vocabulary=40)
    with pytest.warns(HashfedWarning, match="prepared once, in "):
        first = NextWord(data).load("test")
    [folder] = (tmp_path / "cache" / "prepared").iterdir()
    written = (folder / NAME).stat().st_mtime_ns
    second = NextWord(data).load("test")
    expected = build_federated_text(read_texts(str(source)), data)
    for found in (first, second):
        assert found.label_counts.tolist() == expected.label_counts.tolist()
        assert [client.name for client in found.train] == [client.name for client in expected.train]
    assert (folder / NAME).stat().st_mtime_ns == written
    # Another vocabulary, or another file, is another folder.
    with pytest.warns(HashfedWarning, match="prepared once, in "):
        NextWord(data.model_copy(update={"vocabulary": 39})).load("test")
    write_texts(source, seed=2)
    with pytest.warns(HashfedWarning, match="prepared once, in "):
        NextWord(data).load("test")
    assert len(list((tmp_path / "cache" / "prepared").iterdir())) == 3


def test_what_is_left_of_a_folder_in_the_cache_is_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not read, nor is the source called damaged."""
    monkeypatch.setattr(cache, "LARGE", 10)
    monkeypatch.setenv("HASHFED_CACHE", str(tmp_path))
    data = NextWordSettings(source=str(write_texts(tmp_path / "texts.jsonl")), vocabulary=40)
    folder = tmp_path / "prepared" / cache.key(data)
    folder.mkdir(parents=True)
    with (
        pytest.warns(HashfedWarning, match="prepared once"),
        pytest.raises(HashfedError, match=rf"{folder}: is there without its {NAME}; delete it$"),
    ):
        NextWord(data).load("test")


def test_without_a_cache_it_is_said_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGE", 10)
    data = NextWordSettings(source=str(write_texts(tmp_path / "texts.jsonl")), vocabulary=40)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HASHFED_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(HashfedError, match=r"cannot be written \(.*\); set HASHFED_CACHE to a folder"):
        NextWord(data).load("test")

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HASHFED_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(HashfedError, match=r"no home folder is known .*; set HASHFED_CACHE to a folder"):
        NextWord(data).load("test")


def test_what_links_lead_to_is_of_the_key(tmp_path: Path) -> None:
    """Readers follow links; what is behind one that changed must not be taken from an old folder."""
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    source.mkdir()
    elsewhere.mkdir()
    (source / "linked").symlink_to(elsewhere)
    (source / "circle").symlink_to(source)
    data = data_settings(source=str(source))
    keys = {cache.key(data)}
    for text in ("one", "longer"):
        (elsewhere / "ann.txt").write_text(text)
        keys.add(cache.key(data))
    assert len(keys) == 3


def test_who_waits_for_another_process_takes_what_that_made(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    entered = threading.Event()
    refused: list[HashfedError] = []

    def wait() -> None:
        entered.set()
        try:
            prepare(lambda: iter(texts()), data_settings(), folder, wait=True)
        except ThereError as error:
            refused.append(error)

    other = threading.Thread(target=wait)
    with made(folder) as new:
        (new / "x").write_bytes(b"")
        other.start()
        entered.wait()
    other.join()
    assert len(refused) == 1
    assert [path.name for path in folder.iterdir()] == ["x"]


def test_who_waits_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock

    def held(handle: int, how: int) -> None:
        if how & fcntl.LOCK_NB:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", held)
    folder = tmp_path / "folder"
    with (
        pytest.warns(HashfedWarning, match=rf"^{folder}: another process is making it; this one waits$"),
        made(folder, wait=True),
    ):
        pass
    assert folder.is_dir()


def test_without_a_client_to_train_it_is_not_the_vocabulary_that_is_too_large(tmp_path: Path) -> None:
    clients, data = texts(groups=("test",)), data_settings()
    with pytest.raises(HashfedError) as expected:
        build_federated_text(clients, data)
    with pytest.raises(HashfedError) as found:
        prepared(clients, data, tmp_path / "folder")
    assert str(found.value) == str(expected.value)
    assert "of 30 clients none is a training client" in str(found.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, folder = str(write_texts(tmp_path / "texts.jsonl")), str(tmp_path / "folder")
    assert main(["data", "prepare", source, folder, "--data.vocabulary", "40"]) == 0
    said = capsys.readouterr().out
    assert re.match(
        rf"{folder}: \d+ sentences of 24 clients, .* a second\)\nhashfed train --data.source {folder}", said
    )
    assert main(["data", "describe", "--data.source", folder]) == 0
    described = capsys.readouterr().out
    assert main(["data", "describe", "--data.source", source, "--data.vocabulary", "40"]) == 0
    assert capsys.readouterr().out == described
    assert main(["data", "prepare", source, f"{folder} 2", "--data.vocabulary", "40"]) == 0
    assert capsys.readouterr().out.endswith(f"hashfed train --data.source '{folder} 2'\n")
    assert main(["data", "check", folder]) == 0
    assert "9 files are as they were written" in capsys.readouterr().out
    assert main(["data", "prepare", source, folder]) == 2
    assert (
        capsys.readouterr().err == f"hashfed: {folder}: is there already; delete it, or name another folder\n"
    )
    assert main(["data", "prepare", folder, f"{folder}2"]) == 2
    assert "is a prepared folder already" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "none that hashfed data prepare made (it has no prepared.json)" in capsys.readouterr().err
