import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.deploy.commands import (
    connection_toml,
    join_address,
    reachable_host,
    run_command,
    split_address,
    superlink_command,
    supernode_command,
    toml,
)
from hashfed.errors import HashfedError


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_texts_are_toml(text: str) -> None:
    assert tomllib.loads(f"x = {toml(text)}") == {"x": text}


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "[::1]:8000", "example.org:1", "[::]:65535"])
def test_addresses(address: str) -> None:
    assert join_address(*split_address(address)) == address


@pytest.mark.parametrize("address", ["", ":1", "a:", "a:0", "a:65536", "a:-1", "a:x", "::1", "a/b:1", "a:١"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(HashfedError, match=r"--address = .*: must be HOST:PORT"):
        split_address(address)


def test_where_everybody_listens() -> None:
    assert [reachable_host(host) for host in ("0.0.0.0", "::", "a")] == ["127.0.0.1", "::1", "a"]


def test_commands() -> None:
    assert superlink_command("a", 1, Path("s"), Path("d"))[-3:] == [
        "--enable-supernode-auth",
        "--database",
        "d",
    ]
    assert "--insecure" in superlink_command("a", 1)
    command = supernode_command("a:1", 2, {"partition-id": 0, "x": True}, Path("s"), "n")
    assert command[-4:] == [
        "--auth-supernode-private-key",
        "s/nodes/n",
        "--node-config",
        "partition-id=0 x=true",
    ]
    assert "--node-config" not in supernode_command("a:1", 2, {})
    assert run_command(Path("x"), {"rounds": 3}) == [
        "flwr",
        "run",
        "x",
        "hashfed",
        "--run-config",
        "rounds=3",
    ]


def test_connections() -> None:
    plain, safe = connection_toml("a:1"), connection_toml("a:1", Path("/s 'x'"))
    assert tomllib.loads(plain)["superlink"]["hashfed"] == {"address": "a:1", "insecure": True}
    expected = {"address": "a:1", "root-certificates": "/s 'x'/ca.crt"}
    assert tomllib.loads(safe)["superlink"]["hashfed"] == expected
