"""Runs: a folder each, resumed by the command that started them."""

from hashfed.experiments.run_folder import RunFolder
from hashfed.experiments.train import Progress, load_data, train

__all__ = ["Progress", "RunFolder", "load_data", "train"]
