from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from hashfed.reproduction.schedule import Schedule
from hashfed.reproduction.tuning import Score


@dataclass(frozen=True)
class Item:
    name: str

    @property
    def job(self) -> "Item":
        return self

    @property
    def data(self) -> str:
        """The first letter's case stands for the data."""
        return "upper" if self.name.isupper() else "lower"


def strand(names: list[list[str]], told: list[list[float]]) -> Generator[Any, list[Score], None]:
    for step in names:
        scores = yield [Item(letter) for letter in step]
        told.append([score.accuracy for score in scores])


def name(item: object) -> str:
    assert isinstance(item, Item)
    return item.name


def score(value: float) -> Score:
    return Score(value, 0.0)


def test_a_strand_goes_on_when_all_that_it_asked_for_is_done() -> None:
    told: list[list[float]] = []
    schedule = Schedule([strand([["a", "b"], ["c"]], told)], lambda item: None)
    first, second = schedule.take(), schedule.take()
    assert first is not None
    assert second is not None
    assert schedule.take() is None
    second[1](score(2.0))
    assert schedule.take() is None
    assert told == []
    first[1](score(1.0))
    assert told == [[1.0, 2.0]]  # in the order asked for, whoever ends first
    third = schedule.take()
    assert third is not None
    assert name(third[0]) == "c"
    assert not schedule.done
    third[1](score(3.0))
    assert schedule.done
    assert [name(item) for item in schedule.planned] == ["a", "b", "c"]


def test_strands_take_turns_and_are_listed_in_their_order() -> None:
    told: list[list[float]] = []
    strands = [strand([["a"], ["b"]], told), strand([["x"], ["y"]], told)]
    schedule = Schedule(strands, lambda item: None)
    order = []
    while not schedule.done:
        taken = schedule.take()
        assert taken is not None
        order.append(name(taken[0]))
        taken[1](score(0.0))
    assert order == ["a", "x", "b", "y"]
    assert [name(item) for item in schedule.planned] == ["a", "b", "x", "y"]


def test_what_is_finished_is_not_handed_out() -> None:
    there = {"a": score(0.5), "b": score(0.25), "d": score(0.75)}
    told: list[list[float]] = []
    schedule = Schedule([strand([["a"], ["b", "c"], ["d"]], told)], lambda item: there.get(name(item)))
    assert told == [[0.5]]
    taken = schedule.take()
    assert taken is not None
    assert name(taken[0]) == "c"
    assert schedule.take() is None
    taken[1](score(0.1))
    assert told == [[0.5], [0.25, 0.1], [0.75]]
    assert schedule.done


def test_nothing_to_do_is_done() -> None:
    assert Schedule([], lambda item: None).done


def test_a_process_goes_on_with_the_data_that_it_has() -> None:
    schedule = Schedule([strand([["a", "B", "c", "D"]], [])], lambda item: None)
    order = []
    for data in ("upper", "upper", "upper", None):
        taken = schedule.take(data)
        assert taken is not None
        order.append(name(taken[0]))
    assert order[:2] == ["B", "D"]
    assert sorted(order[2:]) == ["a", "c"]
