import warnings
from pathlib import Path

import pytest

from hashfed.errors import HashfedError, HashfedWarning
from hashfed.tasks.next_word.word_counts import read_word_counts
from tff_files import pack

COUNTS = "the 342000\ni 340001\n. 340001\nwell-known 5000\nnaïve 12\n"


def write(folder: Path, content: bytes = COUNTS.encode(), form: str = "") -> Path:
    """The file itself, or an archive of it among others."""
    inside = folder / "inside"
    inside.mkdir()
    (inside / "stackoverflow.word_count").write_bytes(content)
    (inside / "stackoverflow.tag_count").write_bytes(b"{}")
    return (
        pack(inside, folder / f"stackoverflow.word_count{form}")
        if form
        else inside / "stackoverflow.word_count"
    )


@pytest.mark.parametrize("form", ["", ".tar.bz2", ".tar.gz", ".tar"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_first_words_are_the_vocabulary(form: str, size: int, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_word_counts(write(tmp_path, form=form), size)
    assert found.words == ("the", "i", ".", "well-known", "naïve")[:size]


def test_words_in_another_order_are_taken_as_they_are_and_told(tmp_path: Path) -> None:
    path = write(tmp_path, b"a 1\nb 2\nc 3\n")
    with pytest.warns(
        HashfedWarning, match=r"not most frequent first \(line 2\); its first 3 words are taken"
    ):
        assert read_word_counts(path, 3).words == ("a", "b", "c")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "data.vocabulary = 2: PATH has only 0 words"),
        (b"a 2\n", "data.vocabulary = 2: PATH has only 1 words"),
        (b"a 2\na 1\n", "data.word_counts = PATH, line 2: the word 'a' is there before"),
        (b"<oov> 2\na 1\n", "data.word_counts = PATH, line 1: the word '<oov>' is a special symbol of ours"),
        (
            b"a\n",
            "data.word_counts = PATH, line 1: b'a\\n': must be a word and its count, such as 'the 341234'",
        ),
        (b"a 1 2\n", "data.word_counts = PATH, line 1: b'a 1 2\\n': must be a word and its count"),
        (b"a -1\n", "data.word_counts = PATH, line 1: "),
        (b"a 1.5\n", "data.word_counts = PATH, line 1: "),
        (b"\xff 1\n", "data.word_counts = PATH, line 1: b'\\xff 1\\n': must be"),
        (b"x" * 100_000, "data.word_counts = PATH, line 1: "),
        (b'{"python": 3}', "data.word_counts = PATH, line 1: "),
    ],
)
def test_what_is_no_such_file_is_one_line(content: bytes, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(HashfedError) as caught:
        read_word_counts(path, 2)
    assert str(caught.value).startswith(problem.replace("PATH", str(path)))
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_a_missing_or_damaged_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(HashfedError, match=r"none: No such file or directory$"):
        read_word_counts(tmp_path / "none", 1)
    with pytest.raises(HashfedError, match=r"none\.tar\.bz2: No such file or directory$"):
        read_word_counts(tmp_path / "none.tar.bz2", 1)
    with pytest.raises(HashfedError, match=r": Is a directory$"):
        read_word_counts(tmp_path, 1)
    path = write(tmp_path, form=".tar.bz2")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(HashfedError, match=r"word_count\.tar\.bz2: damaged or cut off \("):
        read_word_counts(path, 1)
    (tmp_path / "inside" / "stackoverflow.word_count").unlink()
    with pytest.raises(HashfedError, match=r"\.tar: holds no file \.word_count$"):
        read_word_counts(pack(tmp_path / "inside", tmp_path / "other.tar"), 1)
