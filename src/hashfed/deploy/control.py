"""Questions and orders to a running SuperLink: its health over HTTP, everything else through ``flwr``."""

import http.client
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hashfed.deploy.commands import CONNECTION, environment, find_program, register_command
from hashfed.engines.proxies import proxy_handler, through
from hashfed.errors import HashfedError

ANSWER_SECONDS = 300.0
"""For a command of ``flwr``, which on an idle machine takes one."""
FROM_PROXIES = (407, 502, 503, 504)
"""What a proxy answers that cannot reach a server, or may not."""


class NotThere(HashfedError):  # noqa: N818
    """No SuperLink answers at an address (yet)."""


def check_health(address: str, secure: Path | None = None, timeout: float = 20, ours: bool = False) -> None:
    """Return when a SuperLink answers; any answer over HTTP counts, for a reverse proxy may hide the page.

    Args:
        address: of the SuperLink.
        secure: folder with ``ca.crt``; none: without TLS.
        timeout: seconds.
        ours: whether it runs on this machine, whatever its address: then it is asked through no proxy.

    Raises:
        NotThere: nobody answers there.
        HashfedError: the certificate does not fit, or one side uses TLS and the other does not.

    """
    context = None if secure is None else _trust(secure / "ca.crt")
    url = f"{'http' if secure is None else 'https'}://{address}/health"
    way = "" if ours else through(url)
    handlers: list[urllib.request.BaseHandler] = [proxy_handler(url, never=ours)]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        urllib.request.build_opener(*handlers).open(url, timeout=timeout).close()
    except urllib.error.HTTPError as error:
        error.close()
        if way and error.code in FROM_PROXIES:
            raise NotThere(f"{address}: no SuperLink answers ({error}){way}") from None
    except (OSError, http.client.HTTPException) as error:
        found = _explain(address, secure, error)
        raise type(found)(f"{found}{way}") from None


def flwr(home: Path, *arguments: str, timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
    """What a command of ``flwr`` answers, as JSON; ``home`` is its ``FLWR_HOME``.

    Raises:
        HashfedError: where it fails, with its own message.

    """
    command = ["flwr", *arguments, "--format", "json"]
    shown = " ".join(["flwr", *arguments])
    try:
        done = subprocess.run(
            [find_program("flwr"), *command[1:]],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise HashfedError(f"{shown}: no answer after {timeout:g} s") from None
    start = done.stdout.find("{")
    try:
        answer = json.loads(done.stdout[start:]) if start >= 0 else {}
    except ValueError:
        answer = {}
    if not answer.get("success"):
        said = _gist(str(answer.get("error-message") or done.stderr or done.stdout))
        raise HashfedError(f"{shown}: {said or f'exit code {done.returncode}'}")
    return dict(answer)


def register_node(home: Path, public_key: Path) -> None:
    """Let the node with this key join; one that may already is no mistake.

    Raises:
        HashfedError: where the key is not usable or the SuperLink does not answer.

    """
    try:
        flwr(home, *register_command(public_key)[1:])
    except HashfedError as error:
        if "Public key already in use" not in str(error):
            raise


def nodes_online(home: Path) -> int:
    """How many SuperNodes are online.

    Raises:
        HashfedError: where the SuperLink does not answer.

    """
    nodes: Sequence[dict[str, Any]] = flwr(home, "supernode", "list", CONNECTION)["nodes"]
    return sum(node["status"] == "online" for node in nodes)


def _gist(message: str) -> str:
    """The first paragraphs of an error of ``flwr`` as one line, without its preamble and its advice."""
    lines = [line.strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not line.startswith("Using SuperLink:")]
    return " ".join(lines[:3])


def _trust(authority: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(authority))
    except (OSError, ssl.SSLError) as error:
        raise HashfedError(f"{authority}: no certificate of an authority ({error})") from None


def _explain(address: str, secure: Path | None, error: Exception) -> HashfedError:
    """The mistake behind a failed connection."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError) and secure is not None:
        what = reason.verify_message
        if "Hostname mismatch" in what or "IP address mismatch" in what:
            host = address.rpartition(":")[0]
            return HashfedError(
                f"{address}: its certificate is not for this host ({what}); "
                f"make certificates with hashfed certificates --host {host}"
            )
        return HashfedError(
            f"{address}: its certificate is not by the authority {secure / 'ca.crt'} ({what})"
        )
    if isinstance(reason, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(reason):
        return HashfedError(f"{address}: does not use TLS; leave --secure out, or start it with --secure")
    if isinstance(reason, http.client.BadStatusLine | ConnectionResetError) and secure is None:
        # A server that expects TLS hangs up on plain HTTP; so may one that is just ending.
        return NotThere(f"{address}: hangs up; where it uses TLS, join with --secure DIR --node NAME")
    return NotThere(f"{address}: no SuperLink answers ({getattr(reason, 'strerror', None) or reason})")
