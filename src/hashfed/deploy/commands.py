"""The commands of Flower, as lists of arguments; nothing is started here."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hashfed.engines.proxies import never_proxied
from hashfed.errors import HashfedError

Value = str | int | float | bool
"""What Flower carries in a node's or a run's configuration."""

CONNECTION = "hashfed"
"""The name of the SuperLink in ``config.toml``."""


def superlink_command(
    host: str, port: int, secure: Path | None = None, database: Path | None = None
) -> list[str]:
    """``flower-superlink`` on one port, guarded (``superlink``); with certificates only for known nodes."""
    command = ["hashfed-superlink", "--host", host, "--port", str(port)]
    if secure is None:
        command += ["--insecure"]
    else:
        command += ["--ssl-certfile", str(secure / "server.pem"), "--ssl-keyfile", str(secure / "server.key")]
        command += ["--ssl-ca-certfile", str(secure / "ca.crt"), "--enable-supernode-auth"]
    return command if database is None else [*command, "--database", str(database)]


def supernode_command(
    superlink: str,
    port: int,
    config: Mapping[str, Value],
    secure: Path | None = None,
    node: str | None = None,
) -> list[str]:
    """``flower-supernode`` for a SuperLink; ``port`` is its own, for its ClientApps."""
    command = ["flower-supernode", "--superlink", superlink, "--port", str(port)]
    command += ["--insecure"] if secure is None else ["--root-certificates", str(secure / "ca.crt")]
    if secure is not None and node is not None:
        command += ["--auth-supernode-private-key", str(secure / "nodes" / node)]
    return [*command, "--node-config", pairs(config)] if config else command


def run_command(app: Path, overrides: Mapping[str, Value] | None = None) -> list[str]:
    """``flwr run`` of an app folder."""
    command = ["flwr", "run", str(app), CONNECTION]
    return [*command, "--run-config", pairs(overrides)] if overrides else command


def register_command(public_key: Path) -> list[str]:
    """``flwr supernode register`` of a node's public key."""
    return ["flwr", "supernode", "register", str(public_key), CONNECTION]


def connection_toml(address: str, secure: Path | None = None) -> str:
    """``config.toml`` in ``FLWR_HOME``: where ``flwr`` finds the SuperLink."""
    trust = "insecure = true" if secure is None else f"root-certificates = {toml(str(secure / 'ca.crt'))}"
    lines = ["[superlink]", f'default = "{CONNECTION}"', f"[superlink.{CONNECTION}]"]
    return "\n".join([*lines, f"address = {toml(address)}", trust, ""])


def settings(home: Path) -> dict[str, str]:
    """Environment variables of every process of Flower: nothing is sent home or installed."""
    return {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PYTHONUNBUFFERED": "1",
    }


def environment(home: Path, *unproxied: str) -> dict[str, str]:
    """Our environment, those settings, and the commands of our own installation found first.

    Args:
        home: Flower's folder.
        unproxied: hosts that are asked through no proxy, beside this machine; none: whatever it asks is here.

    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    proxies = never_proxied(os.environ, *(unproxied or "*"))
    return {**os.environ, **settings(home), **proxies, "PATH": path}


def find_program(name: str) -> str:
    """The path of one of Flower's programs.

    Raises:
        HashfedError: where it is not installed.

    """
    found = shutil.which(name, path=environment(Path())["PATH"])
    if found is None:
        raise HashfedError(
            f"{name}: not found; it comes with hashfed[flower] (pip install 'hashfed[flower]')"
        )
    return found


def pairs(values: Mapping[str, Value]) -> str:
    """``key=value`` with spaces between, as ``--node-config`` and ``--run-config`` want them."""
    return " ".join(f"{key}={toml(value)}" for key, value in values.items())


def toml(value: Value) -> str:
    """A TOML value that Flower's splitting at quotes and spaces leaves whole."""
    if isinstance(value, str):
        return '"' + "".join(map(_escape, value)) + '"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _escape(character: str) -> str:
    plain = character.isprintable() and character not in '"\\'
    return character if plain else f"\\U{ord(character):08X}"


def split_address(address: str, option: str = "--address") -> tuple[str, int]:
    """Host and port; an IPv6 host is written in brackets.

    Raises:
        HashfedError: naming the option.

    """
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    usable = colon and host and "/" not in host and port.isascii() and port.isdecimal() and len(port) < 6
    if not usable or not 0 < int(port) < 2**16:
        raise HashfedError(f"{option} = {address}: must be HOST:PORT, such as 127.0.0.1:8000")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The inverse of ``split_address``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_host(host: str) -> str:
    """Where a server that listens on ``host`` is reached from its own machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def missing_files(secure: Path, names: Sequence[str]) -> None:
    """Refuse a folder of certificates without these files.

    Raises:
        HashfedError: naming the first that is missing or not readable.

    """
    for name in names:
        path = secure / name
        if not path.is_file():
            own = f" {secure} --client {path.name}" if path.parent != secure else ""
            far = " on the server; copy it from there" if not own and "server.pem" not in names else ""
            raise HashfedError(f"{path}: no such file; hashfed certificates{own} makes it{far}")
        if not os.access(path, os.R_OK):
            raise HashfedError(f"{path}: not readable by this user")
