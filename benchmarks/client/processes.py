"""Processes that take turns: one keeps freed memory, as hashfed does, one has the C library's default.

The setting belongs to a process, so candidates with and without it cannot share one.
"""

import traceback
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch
import torch.multiprocessing

from benchmarks.client.workload import Workload
from hashfed.engines.allocator import keep_memory
from hashfed.errors import HashfedError


class WorkloadProcess:
    """A fresh single-threaded process with one ``Workload``; a context manager that ends it."""

    def __init__(self, words: int, keep: bool) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, words, keep), daemon=True)
        self._process.start()
        there.close()

    def __enter__(self) -> "WorkloadProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()

    def call(self, name: str, *arguments: Any) -> Any:
        """What the workload's method ``name`` returns.

        Raises:
            HashfedError: where the process ended, as when memory ran out.

        """
        try:
            self._connection.send((name, arguments))
            failed, result = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(timeout=5)
            raise HashfedError(
                f"the measuring process ended with exit code {self._process.exitcode}; "
                "-9 often means that memory ran out"
            ) from None
        if failed:
            raise RuntimeError(f"in the measuring process:\n{result}")
        return result


def _serve(connection: Connection, words: int, keep: bool) -> None:
    if keep:
        keep_memory()
    torch.set_num_threads(1)
    workload = Workload(words)
    while True:
        try:
            name, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send((False, getattr(workload, name)(*arguments)))
        except Exception:  # a bug: the caller raises it with this traceback
            connection.send((True, traceback.format_exc()))
