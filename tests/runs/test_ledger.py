"""The ledger of released sums: chained lines, and kills at every byte of them."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.runs import ledger as module
from hashfed.runs.folder import is_record
from hashfed.runs.ledger import (
    LEDGER,
    START,
    Entry,
    Ledger,
    Release,
    Unfinished,
    digest_of,
    entries_of,
    line_of,
    read_ledger,
    roster_digest,
)

NOW = "2026-11-27T12:00:00.000+00:00"
SUM: dict[str, Any] = {
    "label": "updates",
    "length": 7,
    "bits": 16,
    "norm_bound": 1.5,
    "asked": 3,
    "summed": 2,
}
ROSTER = ["ann", "bob", "eve"]

counts = st.integers(1, 10**6)
releases = st.builds(
    lambda asked, missing, **rest: Release(release=1, asked=asked, summed=max(1, asked - missing), **rest),
    asked=counts,
    missing=st.integers(0, 5),
    round=counts,
    time=st.sampled_from([NOW, "2026-01-01T00:00:00+00:00", "2026-02-28T23:59:59.999999Z"]),
    label=st.text(min_size=1, max_size=20),
    length=counts,
    bits=st.integers(1, 64),
    norm_bound=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    roster=st.lists(st.text(max_size=5), unique=True, max_size=4).map(roster_digest),
)
halves = st.builds(
    Unfinished,
    release=st.just(1),
    time=st.just(NOW),
    unfinished=st.binary(min_size=1).map(lambda b: b.decode("latin-1")),
)
histories = st.lists(releases | halves, max_size=5).map(
    lambda found: [entry.model_copy(update={"release": n}) for n, entry in enumerate(found, start=1)]
)


def lines_of(entries: list[Entry]) -> list[bytes]:
    lines: list[bytes] = []
    for entry in entries:
        lines.append(line_of(entry, digest_of(lines[-1]) if lines else START))
    return lines


def opened(folder: Path) -> Ledger:
    return Ledger.open(folder, now=lambda: NOW)


def release(ledger: Ledger, round: int = 1, **changes: Any) -> Release:
    return ledger.release(round, **{**SUM, "roster": ROSTER, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ledger of three releases."""
    folder = tmp_path_factory.mktemp("run")
    with opened(folder) as ledger:
        for round in (1, 2, 2):
            release(ledger, round)
    return (folder / LEDGER).read_bytes()


def written(folder: Path, data: bytes) -> Path:
    """The folder, emptied, with this ledger."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / LEDGER).write_bytes(data)
    return folder


def test_a_release_is_a_line_that_says_all_of_it(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert ledger.releases() == []
        assert not (tmp_path / LEDGER).exists()
        one = release(ledger)
        # A round that is played again is another release.
        two = release(ledger, norm_bound=None, summed=3, roster=ROSTER[::-1])
        assert ledger.releases() == [one, two]
    first, second = (json.loads(line) for line in (tmp_path / LEDGER).read_text().splitlines())
    assert first == {
        "release": 1,
        "round": 1,
        "time": NOW,
        **SUM,
        "roster": roster_digest(ROSTER),
        "before": START,
        "sha256": first["sha256"],
    }
    assert (second["release"], second["round"], second["before"]) == (2, 1, first["sha256"])
    assert (second["norm_bound"], second["summed"], second["roster"]) == (None, 3, first["roster"])
    assert read_ledger(tmp_path) == [one, two]
    with opened(tmp_path) as ledger:
        assert release(ledger, 7).release == 3
        assert ledger.releases()[:2] == [one, two]
    with Ledger.open(tmp_path) as ledger:
        assert release(ledger).time > NOW[:4]


def test_a_roster_is_told_by_its_names_alone() -> None:
    assert roster_digest(["b", "a"]) == roster_digest(("a", "b"))
    found = {roster_digest(names) for names in ([], ["a"], ["a", "b"], ["ab"], ["a,b"], ['a", "b'])}
    assert len(found) == 6
    with pytest.raises(ValueError, match="a client is in the roster twice"):
        roster_digest(["a", "a"])


def test_the_line_is_on_disk_before_the_sum_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(str(path) if path.is_dir() else path.read_text())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    with opened(tmp_path) as ledger:
        release(ledger)
        # The folder too, or the file itself might be gone.
        assert synced == [str(tmp_path), (tmp_path / LEDGER).read_text()]
        release(ledger)
        assert synced[2:] == [(tmp_path / LEDGER).read_text()]
    written(tmp_path / "half", (tmp_path / LEDGER).read_bytes()[:-9])
    opened(tmp_path / "half").close()
    assert synced[3:] == [(tmp_path / "half" / LEDGER).read_text(), str(tmp_path / "half")]


@given(histories)
def test_lines_say_what_entries_do(entries: list[Entry]) -> None:
    lines = lines_of(entries)
    data = b"".join(lines)
    assert data.count(b"\n") == len(entries)
    assert entries_of(data, "x") == (entries, digest_of(lines[-1]) if lines else START)


@given(histories, st.data())
def test_a_lost_moved_or_doubled_line_is_noticed(entries: list[Entry], data: st.DataObject) -> None:
    lines = lines_of(entries)
    others = data.draw(st.lists(st.sampled_from(lines), max_size=6) if lines else st.just([]))
    if others == lines[: len(others)]:  # the ledger, or one that was shorter
        assert entries_of(b"".join(others), "x")[0] == entries[: len(others)]
    else:
        with pytest.raises(HashfedError, match=r"^x, line \d+: .*; restore the file"):
            entries_of(b"".join(others), "x")


def test_a_line_that_was_altered_with_its_checksum_is_noticed_by_the_next(data: bytes) -> None:
    first, second, third = data.splitlines(keepends=True)
    entry = entries_of(first, "x")[0][0].model_copy(update={"summed": 3})
    other = line_of(entry, START)
    assert entries_of(other, "x")[0] == [entry]
    with pytest.raises(HashfedError) as error:
        entries_of(other + second + third, "x")
    assert str(error.value) == (
        "x, line 2: the line before is not the one that was there when it was written; restore the file from "
        "a copy, or train in another folder (--output)"
    )


def test_every_single_altered_byte_is_noticed(data: bytes) -> None:
    whole = entries_of(data, "x")[0]
    for place in range(len(data)):
        for byte in {data[place] ^ 1, data[place] ^ 32, 0, ord("\n"), ord(" ")} - {data[place]}:
            altered = data[:place] + bytes([byte]) + data[place + 1 :]
            if place == len(data) - 1:  # a last line without its end may have been written
                found = entries_of(altered, "x")[0]
                assert found[:2] == whole[:2]
                assert isinstance(found[2], Unfinished)
                continue
            number = data[:place].count(b"\n") + 1
            with pytest.raises(HashfedError, match=f"^x, line {number}: .*; restore the file"):
                entries_of(altered, "x")


def test_a_kill_at_any_byte_loses_no_release(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a thousand would take a minute
    first, second, _ = data.splitlines(keepends=True)
    data = first + second
    folder = written(tmp_path / "run", data)
    whole = entries_of(data, "x")[0]
    for cut in (0, 1, *range(len(first) - 1, len(data) + 1)):
        (folder / LEDGER).write_bytes(data[:cut])
        lines, _, half = data[:cut].rpartition(b"\n")
        done = whole[: data[:cut].count(b"\n")]
        rest = [Unfinished(release=len(done) + 1, time=None, unfinished=half.decode())] if half else []
        assert read_ledger(folder) == [*done, *rest]
        assert (folder / LEDGER).read_bytes() == data[:cut]
        with opened(folder) as ledger:
            found = ledger.releases()
            assert found == [*done, *(entry.model_copy(update={"time": NOW}) for entry in rest)]
            after = release(ledger, 9)
            assert after.release == len(found) + 1
            assert ledger.releases() == [*found, after]
        assert (folder / LEDGER).read_bytes().startswith(lines)
        assert read_ledger(folder) == [*found, after]


def test_kills_one_after_another(tmp_path: Path, data: bytes) -> None:
    """Each kill leaves a half line, that of the process before is kept."""
    folder = written(tmp_path / "run", data[:-1])
    for count in range(3, 9):
        assert len(read_ledger(folder)) == count
        with opened(folder) as ledger:
            assert len(ledger.releases()) == count
            release(ledger)
        (folder / LEDGER).write_bytes((folder / LEDGER).read_bytes()[: -7 * count])
    found = read_ledger(folder)
    assert [entry.release for entry in found] == list(range(1, 10))
    assert [type(entry) for entry in found] == [Release] * 2 + [Unfinished] * 7


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_kill_while_a_half_line_is_put_right(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = written(tmp_path / "run", data[:-5])
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Path if name == "replace" else os, name, killed)
        with pytest.raises(KeyboardInterrupt):
            opened(folder)
    assert (folder / LEDGER).read_bytes() == data[:-5]
    with opened(folder) as ledger:
        assert [type(entry) for entry in ledger.releases()] == [Release, Release, Unfinished]


class FullDisk:
    """``os.write`` that takes a byte at a time, and no more than so many."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.write = os.write

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        return self.write(descriptor, data[:1])


@pytest.mark.parametrize("room", [0, 1, 100, None])
def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None) -> None:
    ledger = opened(tmp_path)
    release(ledger)
    size = (tmp_path / LEDGER).stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(10**6 if room is None else room))
        if room is None:
            assert release(ledger).release == 2
        else:
            with pytest.raises(
                HashfedError, match=f"{LEDGER}: cannot be written \\(No space left on device\\)"
            ):
                release(ledger)
    if room is not None:
        assert (tmp_path / LEDGER).stat().st_size == size + room
        with pytest.raises(HashfedError, match="closed, perhaps by a line that could not be written"):
            release(ledger)
    ledger.close()
    with opened(tmp_path) as ledger:
        assert len(ledger.releases()) == (1 if room == 0 else 2)
        assert release(ledger).release == (2 if room == 0 else 3)


def test_what_is_interrupted_while_it_is_written_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with opened(tmp_path) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", interrupted)
            patch.setattr(module, "sync_folder", lambda folder: None)
            with pytest.raises(KeyboardInterrupt):
                release(ledger)
        with pytest.raises(HashfedError, match="open it anew"):
            release(ledger)
    assert [entry.release for entry in read_ledger(tmp_path)] == [1]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        with pytest.raises(HashfedError, match=f"^{tmp_path / LEDGER}: another process is writing it$"):
            opened(tmp_path)
        release(ledger)
        assert len(read_ledger(tmp_path)) == 1
    ledger.close()
    opened(tmp_path).close()


@pytest.mark.parametrize(
    "changes",
    [
        {"round": 0},
        {"label": ""},
        {"length": 0},
        {"bits": 16.0},
        {"norm_bound": 0.0},
        {"norm_bound": float("inf")},
        {"norm_bound": float("nan")},
        {"summed": 4},
        {"asked": 2},
        {"summed": 0},
        {"roster": ["ann", "ann", "bob"]},
        {"roster": ["ann"]},
    ],
)
def test_a_release_that_cannot_be_writes_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    with opened(tmp_path) as ledger:
        with pytest.raises(ValueError, match=r"."):
            release(ledger, **{"round": 1, **changes})
        assert not (tmp_path / LEDGER).exists()
        assert release(ledger).release == 1


GOOD: dict[str, Any] = {"release": 1, "round": 1, "time": NOW, **SUM, "roster": "0" * 64}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (GOOD, None),
        (GOOD | {"round": 0}, "damaged: round = 0: Input should be greater than or equal to 1"),
        (GOOD | {"round": True}, "damaged: round = True: Input should be a valid integer"),
        (GOOD | {"release": 2}, "release 2 where 1 is due"),
        (GOOD | {"more": 1}, "damaged: more = 1: Extra inputs are not permitted"),
        (
            GOOD | {"time": "2026-11-27T12:00:00"},
            "damaged: time = '2026-11-27T12:00:00': Value error, must be in",
        ),
        (GOOD | {"time": "now"}, "damaged: time = 'now': Value error, Invalid isoformat string: 'now'"),
        (GOOD | {"roster": "x"}, "damaged: roster = 'x': String should match pattern"),
        (GOOD | {"summed": 9}, "damaged: Value error, summed = 9: must be at most asked = 3"),
        ({"release": 1, "time": NOW, "unfinished": ""}, "damaged: unfinished = '': String should have"),
        ({}, "damaged: release = "),
    ],
)
def test_lines_that_no_release_writes(said: dict[str, Any], expected: str | None, tmp_path: Path) -> None:
    text = json.dumps(said | {"before": START})[:-1].encode()
    line = text + b', "sha256": "' + hashlib.sha256(text).hexdigest().encode() + b'"}\n'
    folder = written(tmp_path / "run", line)
    if expected is None:
        assert [entry.release for entry in read_ledger(folder)] == [1]
        return
    with pytest.raises(HashfedError) as error:
        opened(folder)
    assert str(error.value).startswith(f"{folder / LEDGER}, line 1: {expected}")
    assert str(error.value).endswith("; restore the file from a copy, or train in another folder (--output)")
    assert "\n" not in str(error.value)
    assert (folder / LEDGER).read_bytes() == line


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\0" * 400, b"[" * 10**5, b"\xff", b'{"release": 1}'])
def test_lines_that_are_none(line: bytes, data: bytes, tmp_path: Path) -> None:
    folder = written(tmp_path / "run", data + line + b"\n")
    with pytest.raises(HashfedError, match=f"^{folder / LEDGER}, line 4: damaged: not a line of a ledger; "):
        read_ledger(folder)
    if line:
        folder = written(tmp_path / "run", data + line)
        assert [entry.release for entry in read_ledger(folder)] == [1, 2, 3, 4]


def test_places_where_no_ledger_can_be(tmp_path: Path) -> None:
    with pytest.raises(HashfedError, match=f"{module.LOCK}: cannot be written"):
        Ledger.open(tmp_path / "none")
    assert read_ledger(tmp_path / "none") == []
    (tmp_path / LEDGER).mkdir()
    with pytest.raises(HashfedError, match=f"{LEDGER}: cannot be read \\(Is a directory\\)"):
        Ledger.open(tmp_path)
    (tmp_path / LEDGER).rmdir()
    Ledger.open(tmp_path).close()


def test_no_command_writes_its_output_over_a_ledger(trained: Path) -> None:
    assert is_record(trained / LEDGER)
    assert not is_record(trained / "page.html")
