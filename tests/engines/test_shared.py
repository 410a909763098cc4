import pickle
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from hashfed.engines.lack import lack_of_memory
from hashfed.engines.local.channel import Channel, Parcel
from hashfed.engines.local.worker_troubles import MISTAKE, how_it_ended, not_started, start_problem
from hashfed.engines.shared import SharedBlock, share
from hashfed.errors import HashfedError


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_moved_keeps_its_values_and_its_place() -> None:
    rows, counts, empty = torch.arange(12.0).view(3, 4), torch.arange(5), torch.zeros(0, 3)
    block = share({"rows": rows, "counts": counts, "empty": empty})
    assert torch.equal(rows, torch.arange(12.0).view(3, 4))
    assert torch.equal(counts, torch.arange(5))
    assert empty.shape == (0, 3)
    start = block.start_of(counts)
    assert start is not None
    counts[2] = -1
    assert block.tensor(start, (5,), torch.int64).tolist() == [0, 1, -1, 3, 4]
    assert block.start_of(torch.zeros(3)) is None
    block.close_handle()
    rows[0, 0] = 7  # the memory lasts
    with pytest.raises(ValueError, match="closed"):
        _ = block.handle


def test_a_channel_carries_shared_memory_by_handle_and_the_rest_by_value() -> None:
    before = open_files()
    one, other = (Channel(end.detach()) for end in socket.socketpair())
    table, own = torch.zeros(4, 2), torch.tensor([1.5, -2.0])
    block = share({"table": table})
    parcel = Parcel({"part": table, "own": own, "block": block, "ids": np.arange(3)}, [block])
    for _ in range(2):
        one.post(parcel)
        found = other.receive()
        found["part"][1, 1] += 3
        found["own"][0] = 0
        assert (found["part"].dtype, found["ids"].tolist()) == (torch.float32, [0, 1, 2])
    assert table[1, 1] == 6
    assert own[0] == 1.5
    one.tell("")
    other.tell("späť")
    assert (other.hear(), one.hear()) == ("", "späť")
    block.close_handle()
    one.close()
    with pytest.raises(EOFError):
        other.receive()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        other.send("gone")
    other.close()
    assert open_files() == before
    assert pickle.loads(pickle.dumps(own)).tolist() == [1.5, -2.0]


def test_more_shared_memory_than_there_can_be() -> None:
    before = open_files()
    with pytest.raises(
        HashfedError, match=r"^memory: 4,096 TiB that processes share .*workers = 1 or memory_map"
    ):
        SharedBlock.create(2**52)
    assert open_files() == before


def numpy_error() -> Exception:
    try:
        np.empty(2**50)
    except MemoryError as error:
        return error
    raise AssertionError


def torch_error() -> Exception:
    try:
        torch.empty(2**50)
    except RuntimeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "memory ran out: "),
        (numpy_error(), "memory ran out: 8.00 PiB were asked for, "),
        (torch_error(), "memory ran out: 4,096 TiB were asked for, "),
        (OSError(12, "Cannot allocate memory"), "memory ran out: "),
        (
            RuntimeError("unable to mmap 4096 bytes from file </x>: Cannot allocate memory (12)"),
            "memory ran out: 4 KiB were asked for, ",
        ),
    ],
)
def test_lack_of_memory_is_one_line(error: Exception, expected: str) -> None:
    with pytest.raises(HashfedError) as found, lack_of_memory():
        raise error
    line = str(found.value)
    assert line.startswith(expected)
    assert "are free (" in line
    assert "lower data.vocabulary" in line
    assert "\n" not in line


def test_a_gpus_memory_is_not_the_machines() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has …")
    with pytest.raises(HashfedError) as found, lack_of_memory():
        raise error
    line = str(found.value)
    assert line.startswith("the GPU's memory ran out (20.00 MiB were asked for): lower client.batch_size, ")
    assert "free" not in line


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), OSError(2, "No such file"), KeyError(1)],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as found, lack_of_memory():
        raise error
    assert found.value is error


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (
            24,
            r"workers = 9: too few file descriptors \(ulimit -n is \d+, 29 are enough\): raise ulimit -n",
        ),
        (
            11,
            r"workers = 9: no further process or thread may be started \(x\): lower workers",
        ),
        (12, r"workers = 9: no memory for a further process \(.*\): lower workers"),
        (13, r"workers = 9: a process cannot be started \(x\)"),
    ],
)
def test_why_no_process_could_be_started(number: int, expected: str) -> None:
    with pytest.raises(HashfedError, match=expected):
        raise not_started(9, number, "x")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (
            "Traceback\n  x\nOSError: [Errno 24] Too many open files: 'y'\n",
            HashfedError,
            "too few file descriptors",
        ),
        ("Traceback\nImportError: y.so: cannot open: Too many open files", HashfedError, "too few file desc"),
        ("Traceback\nModuleNotFoundError: No module named 'torch'", HashfedError, r"cannot import .*'torch'"),
        ("Traceback\nMemoryError", HashfedError, "memory ran out in a worker"),
        ("Traceback\nRuntimeError: can't start new thread", HashfedError, "no further process or thread"),
        (f"{MISTAKE}memory ran out: 3 bytes", HashfedError, "^memory ran out: 3 bytes$"),
        ("Traceback\n  here\nKeyError: 'x'", RuntimeError, "(?s)Traceback.*here.*KeyError: 'x'"),
    ],
)
def test_what_a_worker_said_that_could_not_start(text: str, kind: type[Exception], expected: str) -> None:
    with pytest.raises(kind, match=expected):
        raise start_problem(3, text)


def test_only_a_kill_may_mean_memory() -> None:
    assert "memory ran out" in how_it_ended(-signal.SIGKILL)
    for code in (1, -signal.SIGSEGV, -signal.SIGTERM, -63, None):
        assert "memory ran out" not in how_it_ended(code)
    assert how_it_ended(-signal.SIGSEGV) == "was ended by SIGSEGV (exit code -11)"
    assert "exit code 3;" in how_it_ended(3)
