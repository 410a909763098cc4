"""What a SuperLink answers to other machines."""

import asyncio
import http.client
from base64 import b64encode
from collections.abc import MutableMapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr")

from fastapi import HTTPException
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.message_pb2 import Message, Metadata
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from hashfed.deploy.control import nodes_online
from hashfed.deploy.processes import SuperLink
from hashfed.deploy.superlink import for_nodes_only, may_ask, own_answers_only
from small import PATIENCE

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


@pytest.mark.parametrize(
    ("sender", "answers", "allowed"),
    [(7, "asked", True), (8, "asked", False), (1, "asked", False), (7, "", False), (1, "", False)],
)
def test_a_node_sends_only_its_own_answers(sender: int, answers: str, allowed: bool) -> None:
    metadata = Metadata(src_node_id=sender, dst_node_id=1, reply_to_message_id=answers)
    request = PushMessagesRequest(node=Node(node_id=7), messages_list=[Message(metadata=metadata)])
    handled = []
    push = own_answers_only(lambda request, state: handled.append(request))
    with nullcontext() if allowed else pytest.raises(HTTPException, match="nothing but its own answers"):
        push(request=request, state=None)
    assert handled == [request] * allowed


def test_a_real_superlink_is_guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine is played by a proxy on this one, which says for whom it asks."""
    # Whoever starts it may have let uvicorn believe everybody; it does not.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    with SuperLink(tmp_path, host="0.0.0.0") as link:
        port = link.port

        def status(path: str, **headers: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
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


def test_a_real_node_cannot_instruct_the_others(tmp_path: Path) -> None:
    """It has a key, and writes to another node in the name of the server."""
    secret, public = generate_key_pairs()
    key = public_key_to_bytes(public)

    with SuperLink(tmp_path) as link:

        def ask(path: str, request: Any) -> tuple[int, bytes]:
            stamp = now().isoformat()
            headers = {
                "content-type": PROTOBUF_MEDIA_TYPE,
                FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(key).decode(),
                FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(secret, stamp.encode())).decode(),
                TIMESTAMP_HEADER: stamp,
            }
            connection = http.client.HTTPConnection("127.0.0.1", link.port, timeout=PATIENCE)
            connection.request("POST", f"/v1/fleet/{path}", request.SerializeToString(), headers)
            answer = connection.getresponse()
            found = answer.status, answer.read()
            connection.close()
            return found

        assert ask("register-node", RegisterNodeFleetRequest(public_key=key))[0] == 200
        active = ask("activate-node", ActivateNodeRequest(public_key=key, heartbeat_interval=30))
        assert active[0] == 200
        node = Node(node_id=ActivateNodeResponse.FromString(active[1]).node_id)
        forged = Message(metadata=Metadata(src_node_id=1, dst_node_id=7, message_id="x"))
        status, text = ask("push-messages", PushMessagesRequest(node=node, messages_list=[forged]))
        assert (status, b"nothing but its own answers" in text) == (403, True)
