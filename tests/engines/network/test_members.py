"""Who hosts whom."""

from collections.abc import Iterable

import pytest

from hashfed.engines.network.exchanges import JOIN
from hashfed.engines.network.members import Members, by_node
from hashfed.engines.network.post import Reply
from hashfed.engines.network.transport import NOTHING
from memory_transport import MemoryContent


def joined(node: int, train: object, held_out: object = ()) -> Reply:
    held = [*held_out] if isinstance(held_out, Iterable) else held_out
    content = MemoryContent(names={"train": train, "held_out": held})
    return Reply("m", node, JOIN, content, "", False, 0.0, 0.0, 0, (), NOTHING)


def members(most: int = 10) -> tuple[Members, list[str]]:
    said: list[str] = []
    return Members(60.0, most, said.append), said


def test_clients_by_node() -> None:
    found, said = members()
    found.answer(joined(1, ["b", "a"], ["v"]))
    found.answer(joined(2, ["c"], ["u"]))
    assert found.train == ["a", "b", "c"]
    assert found.held_out == ["u", "v"]
    assert by_node(["a", "c", "gone"], found) == {1: ["a"], 2: ["c"]}
    assert found.hosts_of_held_out() == {2: ["u"], 1: ["v"]}
    assert said == []


def test_the_first_host_keeps_a_client_until_it_is_gone() -> None:
    found, said = members()
    found.answer(joined(1, ["a", "b"], ["v"]))
    found.answer(joined(2, ["a", "c"], ["v"]))
    found.answer(joined(3, ["a"]))
    assert [found.node(name) for name in "abc"] == [1, 1, 2]
    assert said == [
        "client a and 1 more of node 2: hosted by node 1 already, which keeps it until it is gone",
        "client a of node 3: hosted by node 1 already, which keeps it until it is gone",
    ]
    found.lose(1)
    assert [found.node(name) for name in "abc"] == [2, None, 2]
    assert found.hosts_of_held_out() == {2: ["v"]}
    found.lose(2)
    assert [found.node(name) for name in "abc"] == [3, None, None]
    found.lose(2)
    assert found.train == ["a"]


def test_a_node_that_joins_again_has_the_clients_that_it_names_now() -> None:
    found, _ = members()
    found.answer(joined(1, ["a", "b"]))
    found.answer(joined(1, ["b", "c"]))
    assert found.train == ["b", "c"]


@pytest.mark.parametrize(
    ("train", "held_out", "reason"),
    [
        (["c"] * 11, [], "11 clients: at most 10 on one node (flower.clients_per_node)"),
        (["a", "a"], [], "its clients' names are not distinct"),
        (["a"], ["a"], "its clients' names are not distinct"),
        ([""], [], "client '': a name must have from 1 to 200 printable characters"),
        (["x" * 201], [], "a name must have from 1 to 200 printable characters"),
        (["a\nb"], [], "a name must have from 1 to 200 printable characters"),
        ([1, 2], [], "no names of train clients in its reply"),
        ("ann", [], "no names of train clients in its reply"),
        (["a"], [0.5], "no names of held_out clients in its reply"),
    ],
)
def test_names_that_nobody_can_have(train: object, held_out: object, reason: str) -> None:
    found, said = members()
    found.answer(joined(1, ["before"]))
    found.answer(joined(1, train, held_out))
    assert found.train == []
    (line,) = said
    assert line.startswith("node 1 could not join: ")
    assert reason in line
    assert len(line) < 600
    assert list(found.refused) == [1]
