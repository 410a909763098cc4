"""What a SuperLink answers to other machines."""

import asyncio
import http.client
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr")

from hashfed.engines.flower.control import nodes_online
from hashfed.engines.flower.processes import SuperLink
from hashfed.engines.flower.superlink import for_nodes_only, may_ask

PUBLIC, OTHER = "198.51.100.7", "203.0.113.9"


@pytest.mark.parametrize(
    ("path", "client", "server", "allowed"),
    [
        ("/v1/fleet/pull-messages", OTHER, PUBLIC, True),
        ("/health", OTHER, PUBLIC, True),
        ("/v1/control/register-node", OTHER, PUBLIC, False),
        ("/v1/runtime/acquire-task", OTHER, PUBLIC, False),
        ("/responses", OTHER, PUBLIC, False),
        ("/docs", OTHER, PUBLIC, False),
        ("/", OTHER, PUBLIC, False),
        ("", OTHER, PUBLIC, False),
        ("/v1/fleet", OTHER, PUBLIC, False),
        ("//v1/fleet/x", OTHER, PUBLIC, False),
        ("/V1/FLEET/x", OTHER, PUBLIC, False),
        ("/healthy", OTHER, PUBLIC, False),
        ("/v1/control/register-node", "127.0.0.1", "127.0.0.1", True),
        ("/v1/control/register-node", "127.9.9.9", PUBLIC, True),
        ("/v1/control/register-node", "::1", "::1", True),
        ("/v1/control/register-node", "::ffff:127.0.0.1", PUBLIC, True),
        ("/v1/control/register-node", f"::ffff:{OTHER}", PUBLIC, False),
        ("/v1/control/register-node", PUBLIC, PUBLIC, True),
        ("/v1/control/register-node", f"::ffff:{PUBLIC}", PUBLIC, True),
        ("/v1/control/register-node", "fe80::1%eth0", "fe80::1%eth0", True),
        ("/v1/control/register-node", "fe80::2%eth0", "fe80::1%eth0", False),
        ("/v1/control/register-node", "127.0.0.1.example.org", PUBLIC, False),
        ("/v1/control/register-node", "", "", False),
        ("/v1/control/register-node", None, None, False),
        ("/v1/control/register-node", OTHER, None, False),
        ("/v1/control/register-node", OTHER, "unix socket", False),
    ],
)
def test_who_may_ask(path: str, client: str | None, server: str | None, allowed: bool) -> None:
    assert may_ask(path, client, server) is allowed


def ask(scope: MutableMapping[str, Any]) -> list[MutableMapping[str, Any]]:
    """What a guarded application, which itself answers with status 200, sends."""
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "there", "status": 200})

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the body of a refused request is not read")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def run() -> None:
        await for_nodes_only(app)(scope, receive, send)

    asyncio.run(run())
    return sent


def test_the_application_sees_only_what_may_be_asked() -> None:
    there = [{"type": "there", "status": 200}]
    http = {"type": "http", "client": (OTHER, 5), "server": (PUBLIC, 8000)}
    assert ask({"type": "lifespan"}) == there
    assert ask({**http, "path": "/v1/fleet/x"}) == there
    assert ask({**http, "path": "/v1/control/x", "client": ("127.0.0.1", 5)}) == there
    start, body = ask({**http, "path": "/v1/control/x"})
    assert (start["type"], start["status"]) == ("http.response.start", 403)
    assert body["body"] == b"hashfed: only nodes are answered here; use flwr on the server's own machine\n"
    assert ask({"type": "websocket", "path": "/v1/fleet/x"}) == [{"type": "websocket.close", "code": 1008}]


def test_a_real_superlink_is_guarded(tmp_path: Path) -> None:
    """Another machine is played by a proxy on this one, which says for whom it asks."""
    with SuperLink(tmp_path, host="0.0.0.0") as link:
        port = link.port

        def status(path: str, **headers: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", path, b"", {name.replace("_", "-"): v for name, v in headers.items()})
            found = connection.getresponse().status
            connection.close()
            return found

        assert nodes_online(link.home) == 0
        for path in ("/v1/control/list-nodes", "/v1/control/register-node", "/v1/runtime/acquire-task"):
            assert status(path, X_Forwarded_For=OTHER) == 403
            assert status(path, X_Forwarded_For=f"127.0.0.1, {OTHER}") == 403
            assert status(path) != 403
        assert status("/v1/fleet/pull-messages", X_Forwarded_For=OTHER) not in (403, 404)
        assert status("/v1/fleet/../control/list-nodes", X_Forwarded_For=OTHER) == 404
        assert status("/v1/fleet/%2e%2e/control/list-nodes", X_Forwarded_For=OTHER) == 404
