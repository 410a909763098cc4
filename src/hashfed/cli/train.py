"""``hashfed train``."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from hashfed.cli.arguments import overrides
from hashfed.cli.command import Command
from hashfed.cli.reading import load_shown
from hashfed.cli.streams import say
from hashfed.config import load_config
from hashfed.engines.allocator import keep_memory
from hashfed.report import print_table, write_page
from hashfed.runs import RunFolder
from hashfed.runs import train as train_run
from hashfed.tasks.presentation import Measure
from hashfed.tasks.registry import make_task


class ProgressBar:
    """A bar with time left and the newest metrics; silent where the output is not a terminal."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        """Show these of each evaluation."""
        self._measures = measures
        self._bar: tqdm[Any] | None = None
        self._shown: dict[str, str] = {}

    def start(self, done: int, rounds: int) -> None:
        """Show the bar."""
        self._bar = tqdm(total=rounds, initial=done, unit="round", disable=None, dynamic_ncols=True)

    def round(self, metrics: dict[str, Any]) -> None:
        """Advance."""
        if self._bar is None:
            return
        self._shown["loss"] = f"{metrics['train_loss']:.3f}"
        if "evaluation" in metrics:
            for measure in self._measures:
                self._shown[measure.key] = measure.text(metrics["evaluation"][measure.key])
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update()

    def finish(self) -> None:
        """Leave the line as it is."""
        if self._bar is not None:
            self._bar.close()


def train(arguments: argparse.Namespace) -> None:
    """``hashfed train``."""
    config = load_config(arguments.config, overrides(arguments))
    folder = config.folder()
    say(f"run folder: {folder}")
    keep_memory()
    train_run(config, ProgressBar(make_task(config.data).presentation.main), load=load_shown)
    run = RunFolder(folder)
    print_table([run], sys.stdout)
    if importlib.util.find_spec("plotly") and importlib.util.find_spec("jinja2"):
        write_page([run], folder / "report.html")


TRAIN = Command(
    name="train",
    help="train a model, or go on with a run that was stopped",
    description="Train in simulation. The run is kept in a folder; the same command resumes it.",
    run=train,
    settings=True,
)
