"""``hashfed data describe``."""

import argparse

from hashfed.cli.arguments import overrides
from hashfed.cli.command import Command
from hashfed.config import load_config
from hashfed.runs import load_data
from hashfed.runs.train import describe


def describe_data(arguments: argparse.Namespace) -> None:
    """``hashfed data describe``."""
    config = load_config(arguments.config, overrides(arguments))
    facts = describe(config, load_data(config))
    floors = facts.pop("floors")
    facts.pop("sha256")
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):30s} {value:>12,.0f}")
    print(f"{'held-out out-of-vocabulary':30s} {floors['oov_rate']:>12.2%}")
    print(f"\nfloors on {floors['targets']:,} held-out words    accuracy       nll")
    for name in ("unigram", "bigram"):
        print(f"{name:30s} {floors[f'{name}_accuracy']:>12.2%} {floors[f'{name}_nll']:>9.3f}")


DESCRIBE = Command(
    name="data describe",
    help="clients, words and the floors to beat",
    description="Print sizes of a data set, what clients need of the vocabulary, and the floors.",
    run=describe_data,
    settings=True,
)
