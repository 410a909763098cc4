"""Flower's SuperLink, whose port gives other machines nothing but what nodes need, and nodes no other's name.

Flower 1.41 serves nodes, its control interface (``flwr run``, ``flwr supernode register``) and that of its
own processes on one port, and has accounts only in its Enterprise edition. Here whatever is not for nodes is
answered only to this machine: no other one can register a key or start an app.
"""

import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import IPv6Address, ip_address
from typing import Any

FOR_NODES = "/v1/fleet/"
"""How the paths begin that SuperNodes ask for; Flower checks their keys."""
HEALTH = "/health"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""


def main() -> None:
    """``hashfed-superlink``: takes the arguments of ``flower-superlink`` and ends as it does."""
    try:
        import uvicorn
        from flwr.superlink.cli import flower_superlink
        from flwr.superlink.servicer.fleet import fleet_handlers
    except ImportError as error:
        sys.exit(f"hashfed-superlink: {error}; install hashfed[flower]")
    library: Any = uvicorn
    serve = library.run

    def serve_guarded(app: Application, **options: Any) -> None:
        serve(for_nodes_only(app), **options)

    # The one place where Flower starts a server; test_superlink.py asks a real one from another address.
    library.run = serve_guarded
    handlers: Any = fleet_handlers
    handlers.push_messages = own_answers_only(handlers.push_messages)
    # Only a proxy on this machine is believed about who asks.
    os.environ["FORWARDED_ALLOW_IPS"] = "127.0.0.1"
    flower_superlink()


def own_answers_only(push_messages: Callable[..., Any]) -> Callable[..., Any]:
    """Flower's handler of what nodes send, which refuses what is not an answer in the node's own name.

    Flower checks the key of the node that asks, but not that its message names the same node as its sender:
    any node could answer for another one, or instruct the others as the server.
    """

    def checked(request: Any, state: Any) -> Any:
        from fastapi import HTTPException

        for message in request.messages_list:
            metadata = message.metadata
            if metadata.src_node_id != request.node.node_id or not metadata.reply_to_message_id:
                raise HTTPException(403, "hashfed: a node sends nothing but its own answers")
        return push_messages(request=request, state=state)

    return checked


def for_nodes_only(app: Application) -> Application:
    """The application, which answers other machines with 403 unless they ask for what nodes need."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (
            scope["type"] == "http" and may_ask(scope["path"], _host(scope, "client"), _host(scope, "server"))
        ):
            await app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            text = b"hashfed: only nodes are answered here; use flwr on the server's own machine\n"
            await send({"type": "http.response.body", "body": text})
        else:
            await send({"type": "websocket.close", "code": 1008})  # nobody needs one

    return guarded


def may_ask(path: str, client: str | None, server: str | None) -> bool:
    """Whether a request is for nodes, or comes from this machine.

    Args:
        path: decoded, as the application's router sees it.
        client: address of who asks; None: unknown.
        server: the address of this machine that was asked.

    """
    if path == HEALTH or path.startswith(FOR_NODES):
        return True
    if client is None:
        return False
    try:
        address = _address(client)
        return address.is_loopback or (server is not None and address == _address(server))
    except ValueError:
        return False


def _address(text: str) -> Any:
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _host(scope: Scope, side: str) -> str | None:
    found = scope.get(side)
    return None if found is None else str(found[0])


if __name__ == "__main__":
    main()
