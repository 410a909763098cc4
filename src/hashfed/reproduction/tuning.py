"""The search for a method's settings: a grid, then one step at a time from the best."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hashfed.reproduction.methods import Method

Point = tuple[tuple[str, Any], ...]
"""Settings by dotted name, in the order of the axes."""

RATES: dict[str, tuple[float, ...]] = {
    "client.learning_rate": tuple(10 ** (power / 2) for power in range(-8, 5)),
    "server.epsilon": tuple(10.0**-power for power in range(1, 9)),
}
"""Half decades from 1e-4 to 100; and from 0.1 down to 1e-8, for the smaller one is the likelier way."""
SERVER_RATE = {"server.learning_rate": RATES["client.learning_rate"]}


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        axes: the values allowed of each setting, in the order in which the search tries them.
        grid: points that are tried first.
        trials: how many in all.

    """

    axes: Mapping[str, tuple[Any, ...]]
    grid: tuple[Point, ...]
    trials: int

    @classmethod
    def of(cls, method: Method, grid: Mapping[str, tuple[float, ...]], trials: int) -> "Space":
        """A method's: the rates, which all methods have, and its own settings."""
        axes = {**RATES, **method.axes, **SERVER_RATE}
        starts = {name: grid[name] if name in grid else (method.start[name],) for name in axes}
        # A rate as it is written in the grid is the same as the axis's up to rounding: the axis's is taken.
        exact = {name: [_nearest(axes[name], value) for value in values] for name, values in starts.items()}
        points = itertools.product(*exact.values())
        return cls(axes, tuple(tuple(zip(axes, values, strict=True)) for values in points), trials)


@dataclass(frozen=True)
class Score:
    """Of a trial; larger is better: the paper's metric, then likelihood.

    Attributes:
        accuracy: of validation clients; −1 where the trial failed.
        nll: the same, ∞ where it failed.

    """

    accuracy: float
    nll: float

    @property
    def rank(self) -> tuple[float, float]:
        """What scores are compared by."""
        return self.accuracy, -self.nll


FAILED = Score(-1.0, float("inf"))


def next_trials(space: Space, scores: Mapping[Point, Score]) -> tuple[Point, ...]:
    """What to try next, given all that was tried: the rest of the grid, then one point; none at the end.

    After the grid it is the point with the fewest steps along the axes from the best one so far, so that
    where an edge of the grid wins, the search goes beyond it. All methods make the same number of trials.
    """
    missing = tuple(point for point in space.grid if point not in scores)
    left = space.trials - len(scores)
    if missing or left <= 0:
        return missing[: max(left, 0)]
    best = best_point(scores)
    for steps in range(1, sum(len(values) for values in space.axes.values())):
        for point in _at_distance(space, best, steps):
            if point not in scores:
                return (point,)
    return ()


def best_point(scores: Mapping[Point, Score]) -> Point:
    """The point with the best score; the earlier one of equals."""
    return max(scores, key=lambda point: scores[point].rank)


def _at_distance(space: Space, origin: Point, steps: int) -> list[Point]:
    """Points so many steps from ``origin``: forward before backward, along the first axes first."""
    names = list(space.axes)
    values = dict(origin)
    places = [space.axes[name].index(values[name]) for name in names]
    found: list[Point] = []
    for moves in _moves(len(names), steps):
        there = [place + move for place, move in zip(places, moves, strict=True)]
        if all(0 <= place < len(space.axes[name]) for place, name in zip(there, names, strict=True)):
            found.append(
                tuple((name, space.axes[name][place]) for name, place in zip(names, there, strict=True))
            )
    return found


def _moves(axes: int, steps: int) -> list[tuple[int, ...]]:
    """All vectors of ``axes`` whole numbers whose absolute values add up to ``steps``."""
    if axes == 1:
        return [(steps,), (-steps,)] if steps else [(0,)]
    return [
        (move, *rest)
        for size in range(steps, -1, -1)
        for move in ((size, -size) if size else (0,))
        for rest in _moves(axes - 1, steps - size)
    ]


def _nearest(values: tuple[Any, ...], value: Any) -> Any:
    """The allowed value closest to one that was written with fewer digits.

    Raises:
        ValueError: where none is close.

    """
    found = min(values, key=lambda other: abs(other - value))
    if abs(found - value) > 1e-3 * abs(value):
        raise ValueError(f"{value} is none of {values}")
    return found
