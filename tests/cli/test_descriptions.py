"""What settings say of themselves."""

import sys
from types import ModuleType

import pytest

from hashfed.cli.descriptions import descriptions
from hashfed.config import Config
from hashfed.retrieval import METHODS
from hashfed.settings import Settings

GROUPS = [Config, *(type(value) for _, value in Config() if isinstance(value, Settings)), *METHODS.values()]


class Parent(Settings):
    first: int = 1
    """Said of
    the first."""
    silent: int = 2
    second: int = 3
    """Said of the second."""


class Child(Parent):
    second: int = 4
    """Said anew."""
    third: int = 5

    """Said after a blank line."""


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_every_setting_has_a_description(group: type[Settings]) -> None:
    groups = {name for name, value in Config() if isinstance(value, Settings)} if group is Config else set()
    assert set(group.model_fields) - groups <= set(descriptions(group))
    assert all(descriptions(group).values())


def test_parents_count_and_what_is_said_anew_goes_first() -> None:
    assert descriptions(Child) == {
        "first": "Said of\nthe first.",
        "second": "Said anew.",
        "third": "Said after a blank line.",
    }


def test_without_source_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nowhere", ModuleType("nowhere"))
    made = type("Made", (Parent,), {"__module__": "nowhere"})
    assert descriptions(made) == descriptions(Parent)
