"""``hashfed data describe``."""

import argparse

from hashfed.cli.arguments import overrides
from hashfed.cli.command import Command
from hashfed.cli.reading import load_shown
from hashfed.config import load_config
from hashfed.runs.train import describe
from hashfed.tasks.registry import make_task


def describe_data(arguments: argparse.Namespace) -> None:
    """``hashfed data describe``."""
    config = load_config(arguments.config, overrides(arguments))
    task = make_task(config.data)
    data = load_shown(config)
    facts, shown = describe(config, data), task.presentation
    floors = facts.pop("floors")
    facts.pop("sha256")
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):30s} {value:>12,.0f}")
    for name, value in task.facts(data).items():
        print(f"{name:30s} {value:>12,.{0 if value == int(value) else 1}f}")
    for name, text in shown.rates.items():
        print(f"{text:30s} {floors[name]:>12.2%}")
    print(f"\nfloors on {floors['targets']:,} held-out {shown.targets}")
    print(" " * 30 + "".join(f"{measure.head:>13s}" for measure in shown.main))
    for name in shown.floors:
        values = [(measure, measure.floor(floors, name)) for measure in shown.main]
        cells = ("" if value is None else measure.text(value) for measure, value in values)
        print(f"{name:30s}" + "".join(f"{cell:>13s}" for cell in cells))


DESCRIBE = Command(
    name="data describe",
    help="sizes of the data and the floors to beat",
    description="Print sizes of a data set, how many rows clients need, and the floors.",
    run=describe_data,
    settings=True,
)
