"""A SuperLink and SuperNodes as child processes, for the command line, benchmarks and tests of faults."""

import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from hashfed.deploy import control
from hashfed.deploy.child import Child
from hashfed.deploy.commands import (
    Value,
    connection_toml,
    environment,
    join_address,
    missing_files,
    reachable_host,
    split_address,
    superlink_command,
    supernode_command,
)
from hashfed.deploy.keys import registered_keys
from hashfed.engines.proxies import is_loopback
from hashfed.errors import HashfedError

START_SECONDS = 600.0
"""For a program of Flower to get ready: what fails ends at once, so only one that hangs is given up then. On
a busy machine a start takes minutes."""


class _Process:
    """A child that can be started again; a context manager that starts and terminates it."""

    def __init__(self, folder: Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="hashfed-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else Path(folder or "")
        """Holds the log and ``FLWR_HOME``; a temporary one is removed after the ``with`` block."""
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The process.

        Raises:
            HashfedError: where it was not started.

        """
        if self._child is None:
            raise HashfedError(f"{type(self).__name__}: not started")
        return self._child

    def start(self) -> None:
        """Start the process; where it was started before, after it has ended."""
        raise NotImplementedError

    def terminate(self) -> None:
        """End it in order (SIGTERM)."""
        if self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """End it and its children as a power cut would (SIGKILL of the group)."""
        if self._child is not None:
            self._child.kill()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Terminate it, and remove its temporary folder."""
        self.terminate()
        if self._temporary:
            self._temporary.cleanup()


class SuperLink(_Process):
    """``hashfed-superlink`` on one port.

    Args:
        folder: for its log and ``FLWR_HOME``; none: a temporary one.
        host: where it listens.
        port: none: a free one.
        secure: folder of ``make_certificates``: TLS, and only nodes with a key in ``nodes/*.pub`` may join.
        database: file of its state, for restarts that know their nodes; none: in memory.

    """

    def __init__(
        self,
        folder: Path | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        secure: Path | None = None,
        database: Path | None = None,
    ) -> None:
        """Choose; nothing is started yet.

        Raises:
            HashfedError: where a file of the certificates is missing, or a key is not a node's public one.

        """
        if secure is not None:
            missing_files(secure, ("ca.crt", "server.pem", "server.key"))
            registered_keys(secure)
        super().__init__(folder)
        self.host = host
        self.port = free_port(host) if port is None else port
        self.secure = secure
        self._database = database

    @property
    def address(self) -> str:
        """Where nodes on this machine reach it."""
        return join_address(reachable_host(self.host), self.port)

    @property
    def home(self) -> Path:
        """``FLWR_HOME``, with a ``config.toml`` that knows this SuperLink."""
        return self.folder / "flower"

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start it, wait until it answers, and register the nodes' keys (0.7 s each).

        Raises:
            HashfedError: where it does not get ready (the port is taken, the certificates are for another
                host, ...), with its last lines.

        """
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "config.toml").write_text(connection_toml(self.address, self.secure), encoding="utf-8")
        command = superlink_command(self.host, self.port, self.secure, self._database)
        self._child = Child(command, self.folder / "superlink.log", environment(self.home))
        try:
            # Not just the port: somebody else may answer there.
            self.child.wait_for_output("Uvicorn running on", timeout)
        except HashfedError:
            if "address already in use" in self.child.output():
                where = join_address(self.host, self.port)
                raise HashfedError(
                    f"--address = {where}: the port is in use; choose another, or end what listens there"
                ) from None
            raise
        control.check_health(self.address, self.secure, timeout, ours=True)
        if self.secure is not None:
            keys = registered_keys(self.secure)
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda key: control.register_node(self.home, key), keys))

    def nodes_online(self) -> int:
        """How many SuperNodes are online.

        Raises:
            HashfedError: where the SuperLink has ended or does not answer.

        """
        self.child.check()
        return control.nodes_online(self.home)

    def wait_for_nodes(
        self, count: int, timeout: float = START_SECONDS, tell: Callable[[int], None] = lambda online: None
    ) -> None:
        """Return when ``count`` SuperNodes are online; ``tell`` is called when their number changes.

        Raises:
            HashfedError: where they are not within ``timeout`` seconds, or the SuperLink ends.

        """
        deadline, before = time.monotonic() + timeout, 0
        while True:
            online = self.nodes_online()
            if online != before:
                tell(online)
            if online >= count:
                return
            if time.monotonic() > deadline:
                raise HashfedError(f"{online} of {count} SuperNodes are online after {timeout:g} s")
            before = online
            time.sleep(1)


class SuperNode(_Process):
    """``flower-supernode`` for one SuperLink.

    Args:
        superlink: its HOST:PORT.
        config: the node's configuration, which its ClientApp reads.
        folder: for its log and ``FLWR_HOME``; none: a temporary one.
        port: its own, for its ClientApps; none: a free one.
        secure: folder with ``ca.crt`` and, for ``node``, ``nodes/<node>``.
        node: the name of its key.

    """

    def __init__(
        self,
        superlink: str,
        config: Mapping[str, Value] | None = None,
        folder: Path | None = None,
        port: int | None = None,
        secure: Path | None = None,
        node: str | None = None,
    ) -> None:
        """Choose; nothing is started yet.

        Raises:
            HashfedError: where a file of the certificates is missing.

        """
        if secure is not None:
            missing_files(secure, ["ca.crt"] if node is None else ["ca.crt", f"nodes/{node}"])
        super().__init__(folder)
        self.superlink = superlink
        self.config = dict(config or {})
        self.secure = secure
        self.node = node
        self._port = port

    def start(self) -> None:
        """Start it; ``wait_until_joined`` tells whether the SuperLink took it.

        Raises:
            HashfedError: where the program cannot be started.

        """
        home = self.folder / "flower"
        home.mkdir(parents=True, exist_ok=True)
        port = free_port() if self._port is None else self._port
        command = supernode_command(self.superlink, port, self.config, self.secure, self.node)
        host, _ = split_address(self.superlink)
        # Another machine may be reached through a proxy only; its ClientApps are always here.
        unproxied = host if is_loopback(host) else "localhost"
        self._child = Child(command, self.folder / "supernode.log", environment(home, unproxied))

    def wait_until_joined(self, timeout: float = START_SECONDS) -> None:
        """Return when the SuperLink has taken it in.

        Raises:
            HashfedError: where it has not within ``timeout`` seconds, or the process ends.

        """
        self.child.wait_for_output("SuperNode ID:", timeout)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now.

    Raises:
        HashfedError: where this machine cannot listen on the host.

    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise HashfedError(f"{host}: cannot be listened on ({error.strerror or error})") from None
