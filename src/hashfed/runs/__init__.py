"""Runs: a folder each, resumed by the command that started them."""

from hashfed.runs.folder import RunFolder
from hashfed.runs.train import Progress, load_data, train

__all__ = ["Progress", "RunFolder", "load_data", "train"]
