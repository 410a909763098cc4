"""The arithmetic of a batch of clients on a GPU: its precision, and sums of one order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hashfed.config import Config


@contextmanager
def arithmetic(config: Config) -> Iterator[None]:
    """Within this block products have the configured precision, and sums the same order in every run."""
    if config.device != "cuda":
        yield
        return
    # What cuBLAS asks for where it is to give the same bits each time; read when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    matmul = torch.backends.cuda.matmul
    tf32 = matmul.allow_tf32
    fixed, only_warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    matmul.allow_tf32 = config.precision != "float32"
    # Sums of floats at places that are numbers of an array: without this, in the order in which threads come.
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        matmul.allow_tf32 = tf32
        torch.use_deterministic_algorithms(fixed, warn_only=only_warned)
