"""What each command does with its parsed arguments."""

import argparse
import importlib.util
import sys
from typing import Any

from tqdm import tqdm

from hashfed.cli.arguments import overrides
from hashfed.cli.outputs import check_output
from hashfed.cli.streams import say
from hashfed.config import load_config
from hashfed.display import printable, shown
from hashfed.engines.allocator import keep_memory
from hashfed.report import print_table, write_page
from hashfed.runs import RunFolder, load_data
from hashfed.runs import train as train_run
from hashfed.runs.predict import predict_words, unknown_words
from hashfed.runs.train import describe
from hashfed.tasks.registry import make_task


class ProgressBar:
    """A bar with time left and the newest metrics; silent where the output is not a terminal."""

    def __init__(self) -> None:
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
            self._shown["accuracy"] = f"{metrics['evaluation']['accuracy']:.2%}"
            self._shown["nll"] = f"{metrics['evaluation']['nll']:.3f}"
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
    train_run(config, ProgressBar())
    run = RunFolder(folder)
    print_table([run], sys.stdout)
    if importlib.util.find_spec("plotly") and importlib.util.find_spec("jinja2"):
        write_page([run], folder / "report.html")


def compare(arguments: argparse.Namespace) -> None:
    """``hashfed compare``."""
    check_output(arguments.output)
    runs = [RunFolder(path) for path in arguments.runs]
    print_table(runs, sys.stdout)
    write_page(runs, arguments.output)
    print(f"page: {arguments.output}")


def predict(arguments: argparse.Namespace) -> None:
    """``hashfed predict``."""
    run = RunFolder(arguments.run_folder)
    found = predict_words(run, arguments.text, arguments.top)
    unknown, known = unknown_words(run, arguments.text)
    if unknown:
        which = "some words are" if known else "every word is"
        names = ", ".join(unknown)
        say(f"hashfed: {which} unknown to this run, which reads all such as the same: {names}")
    elif not known:
        say(f"hashfed: no word in {shown(arguments.text)}; this is how sentences begin")
    for word, probability in found:
        print(f"{probability:8.2%}  {printable(word)}")


def describe_data(arguments: argparse.Namespace) -> None:
    """``hashfed data describe``."""
    config = load_config(arguments.config, overrides(arguments))
    facts = describe(load_data(config), make_task(config.data))
    floors = facts.pop("floors")
    facts.pop("sha256")
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):30s} {value:>12,.0f}")
    print(f"{'held-out out-of-vocabulary':30s} {floors['oov_rate']:>12.2%}")
    print(f"\nfloors on {floors['targets']:,} held-out words    accuracy       nll")
    for name in ("unigram", "bigram"):
        print(f"{name:30s} {floors[f'{name}_accuracy']:>12.2%} {floors[f'{name}_nll']:>9.3f}")
