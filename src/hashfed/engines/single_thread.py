"""Threads of torch while clients are simulated."""

import torch


class single_thread:
    """Within this block torch uses one thread: sums have one order, and cores are left to the workers."""

    def __enter__(self) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)
