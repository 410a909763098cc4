import os
from pathlib import Path

import pytest

from hashfed.data import read_texts
from hashfed.data.folders import find_files
from hashfed.errors import HashfedError, HashfedWarning


def write(path: Path, content: bytes = b"x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(folder: Path) -> tuple[list[str], dict[str, int]]:
    files, left_out = find_files(folder)
    return [path.relative_to(folder).as_posix() for path in files], dict(left_out)


@pytest.mark.parametrize(
    "name",
    [
        ".ipynb_checkpoints/a-checkpoint.txt",
        ".git/objects/a.txt",
        ".a.txt",
        "._a.txt",
        ".DS_Store",
        "team/.cache/deep/er/a.jsonl",
        "__MACOSX/a.txt",
        "~$a.txt",
        "$RECYCLE.BIN/S-1/a.txt",
        "lost+found/a.txt",
    ],
)
def test_what_is_hidden_is_no_client(name: str, tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    write(tmp_path / name)
    assert found(tmp_path) == (["a.txt"], {"hidden": 1})
    with pytest.warns(HashfedWarning) as caught:
        assert [item.client for item in read_texts(str(tmp_path))] == ["a"]
    assert [str(warning.message) for warning in caught] == [
        f"data.source = {tmp_path}: 1 file not read: 1 hidden"
    ]


def test_every_file_of_a_hidden_folder_counts(tmp_path: Path) -> None:
    (tmp_path / ".empty").mkdir()
    assert found(tmp_path) == ([], {})
    for number in range(5):
        write(tmp_path / ".ipynb_checkpoints" / "deep" / f"{number}.txt")
    assert found(tmp_path) == ([], {"hidden": 5})


def test_a_source_may_itself_lie_in_a_hidden_folder(tmp_path: Path) -> None:
    write(tmp_path / ".data" / "texts" / "a.txt")
    assert found(tmp_path / ".data") == (["texts/a.txt"], {})


@pytest.mark.parametrize("name", ["a.TXT", "a.Txt", "a.JSONL", "a.jsonl.GZ", "A.B.txt"])
def test_suffixes_in_any_case_are_known(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert found(tmp_path) == ([name], {})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("notes.md", ".md"),
        ("a.txt~", ".txt~"),
        ("#a.txt#", ".txt#"),
        ("a.txt.bak", ".bak"),
        ("a.TXT.GZ", ".txt.gz"),
        ("a.json", ".json"),
        ("README", "without a suffix"),
        ("a.a long ending of a sentence", "of other kinds"),
        ("txt", "without a suffix"),
    ],
)
def test_files_of_other_kinds_are_counted_by_suffix(name: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path / "team" / name)
    assert found(tmp_path) == ([], {reason: 1})


def test_many_kinds_make_one_line_that_is_not_long(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    for number in range(40):
        for copy in range(1 + (number == 7)):
            write(tmp_path / f"{copy}.k{number}")
    with pytest.warns(HashfedWarning) as caught:
        read_texts(str(tmp_path))
    (warning,) = caught
    reasons = "2 .k7, 1 .k0, 1 .k1, 1 .k10, 1 .k11, 35 others"
    assert str(warning.message) == f"data.source = {tmp_path}: 41 files not read: {reasons}"


@pytest.mark.parametrize("name", ["old.txt", "old.TXT", "old.jsonl", "old.jsonl.gz"])
def test_a_folder_called_like_a_file_is_a_folder(name: str, tmp_path: Path) -> None:
    write(tmp_path / name / "a.txt")
    (tmp_path / "empty.txt").mkdir()
    assert found(tmp_path) == ([f"{name}/a.txt"], {})
    assert [item.client for item in read_texts(str(tmp_path))] == [f"{name}/a"]


def test_links_are_followed_and_each_file_is_read_once(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write(root / "b.txt")
    write(root / "team" / "c.txt")
    write(outside / "d.txt")
    write(outside / "deep" / "e.txt")
    write(tmp_path / "blob")
    for link, target in {
        "a.txt": root / "b.txt",  # copies of what is here
        "team-again": root / "team",
        "circle": root,
        "up": tmp_path,
        "team/circle": root / "team",
        "others": outside,  # what lies elsewhere
        "z-others": outside,
        "z-deep": outside / "deep",
        "f.txt": tmp_path / "blob",
        "broken.txt": tmp_path / "none",
        ".hidden": outside,
    }.items():
        (root / link).symlink_to(target)
    (outside / "back").symlink_to(root)
    (root / "team" / "also-c.txt").hardlink_to(root / "team" / "c.txt")  # another name of the same file
    assert found(root) == (
        ["b.txt", "f.txt", "others/d.txt", "others/deep/e.txt", "team/also-c.txt"],
        {"linked twice": 9, "linked to nothing": 1, "hidden": 1},
    )


def test_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    (tmp_path / "one.txt").symlink_to(tmp_path / "other.txt")
    (tmp_path / "other.txt").symlink_to(tmp_path / "one.txt")
    assert found(tmp_path) == (["a.txt"], {"linked to nothing": 2})


def test_a_folder_behind_a_link_is_a_source(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a.txt")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(tmp_path / "link") == (["a.txt"], {})


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    os.mkfifo(tmp_path / "b.txt")
    assert found(tmp_path) == (["a.txt"], {"not regular": 1})


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.txt")
    secret = write(tmp_path / "team" / "secret" / "b.txt").parent
    scandir = os.scandir

    def guarded(path: Path) -> "os._ScandirContextManager[os.DirEntry[str]]":  # type: ignore[name-defined]
        if Path(path) == secret:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(HashfedError) as caught:
        read_texts(str(tmp_path))
    assert str(caught.value) == f"{secret}: Permission denied"
