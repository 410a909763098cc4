import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from hashfed.errors import HashfedError
from hashfed.files import check_writable, create_together, write_atomically


def refuse(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_new_file_holds_exactly_the_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) + b"\r\n"
    write_atomically(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == data
    assert names(tmp_path) == ["file"]


def test_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"a long old content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    write_atomically(path, b"")
    assert path.read_bytes() == b""
    assert names(tmp_path) == ["file.json"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "deep" / "deeper" / "file", b"x")
    assert (tmp_path / "deep" / "deeper" / "file").read_bytes() == b"x"


def test_what_a_dead_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half of something longer")
    write_atomically(tmp_path / "file", b"whole")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_the_data_is_on_disk_before_the_old_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []
    fsync = os.fsync

    def watch(number: int) -> None:
        seen.append((os.fstat(number).st_size, path.read_bytes()))
        fsync(number)

    monkeypatch.setattr(os, "fsync", watch)
    write_atomically(path, b"newer")
    assert seen == [(5, b"old")]


@pytest.mark.parametrize("owner", [(os, "fsync"), (Path, "replace")])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_failure_keeps_the_old_file(
    owner: tuple[object, str], old: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    monkeypatch.setattr(*owner, refuse)
    with pytest.raises(HashfedError) as caught:
        write_atomically(path, b"new")
    assert str(caught.value) == f"{path}: cannot be written (No space left on device)"
    assert names(tmp_path) == ([] if old is None else ["file"])
    if old is not None:
        assert path.read_bytes() == old


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(HashfedError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "inside", b"y")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(HashfedError, match="cannot be written"):
        write_atomically(tmp_path / "file", b"y")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("content", [None, b"", b"a good result"])
def test_a_check_leaves_everything_as_it_was(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "deep" / "result.json"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    check_writable(path)
    assert names(tmp_path) == ([] if content is None else ["deep"])
    assert content is None or (names(path.parent), path.read_bytes()) == ([path.name], content)


def test_a_check_refuses_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HashfedError, match=r"file/result\.json: cannot be written \("):
        check_writable(tmp_path / "file" / "result.json")
    with pytest.raises(HashfedError, match=r": cannot be written \(Is a directory\)"):
        check_writable(tmp_path)
    monkeypatch.setattr("hashfed.files.tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(HashfedError, match=r"other: cannot be written \(No space left on device\)"):
        check_writable(tmp_path / "other")


def test_new_files_are_all_there_with_their_modes_or_none(tmp_path: Path) -> None:
    create_together([(tmp_path / "a" / "x", b"1", 0o600), (tmp_path / "y", b"", 0o644)])
    assert (tmp_path / "a" / "x").read_bytes() == b"1"
    assert (tmp_path / "a" / "x").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "y").read_bytes() == b""
    with pytest.raises(HashfedError, match=f"{tmp_path / 'y'}: exists and is not overwritten"):
        create_together([(tmp_path / "z", b"2", 0o600), (tmp_path / "y", b"3", 0o600)])
    assert names(tmp_path / "a") == ["x"]
    assert sorted(names(tmp_path)) == ["a", "y"]
    assert (tmp_path / "y").read_bytes() == b""


@pytest.mark.parametrize("link", [0, 1])
def test_new_files_whose_making_is_interrupted_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: int
) -> None:
    calls = []

    def interrupted(hidden: Path, path: Path) -> None:
        assert hidden.read_bytes() == b"whole"
        calls.append(path)
        made(hidden, path)
        if len(calls) > link:
            raise KeyboardInterrupt

    made = os.link
    monkeypatch.setattr(os, "link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create_together([(tmp_path / "x", b"whole", 0o600), (tmp_path / "y", b"whole", 0o600)])
    assert len(calls) == link + 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["fsync", "link"])
def test_new_files_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, name, refuse)
    with pytest.raises(HashfedError, match=f"{tmp_path / 'x'}: cannot be written"):
        create_together([(tmp_path / "x", b"1", 0o600), (tmp_path / "y", b"2", 0o600)])
    assert names(tmp_path) == []
