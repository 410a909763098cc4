"""``hashfed serve``: a SuperLink, its nodes, one run."""

import argparse
import contextlib
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hashfed.cli.arguments import Parser, overrides, path, whole
from hashfed.cli.command import Command
from hashfed.cli.flower_extra import need_flower, shell
from hashfed.cli.streams import say
from hashfed.config import Config, load_config
from hashfed.errors import HashfedError
from hashfed.runs import RunFolder

SECONDS_TO_SAVE = 120.0
"""For the ServerApp to save its last round, once it was told to stop; then it is killed."""

if TYPE_CHECKING:
    from hashfed.deploy.processes import SuperLink


def add_serve(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--address",
        default="127.0.0.1:8000",
        metavar="HOST:PORT",
        help="where the SuperLink listens; 0.0.0.0:8000: on every network [default %(default)s]",
    )
    parser.add_argument(
        "--secure",
        type=path,
        metavar="DIR",
        help="folder of hashfed certificates: TLS, and only nodes with a key in DIR/nodes may join "
        "[default: neither, for one machine or a private network]",
    )
    parser.add_argument(
        "--nodes",
        type=whole,
        default=1,
        metavar="N",
        help="begin when N nodes are online [default %(default)s]",
    )
    parser.add_argument(
        "--show-commands", action="store_true", help="print the commands of Flower instead, and start nothing"
    )


def serve(arguments: argparse.Namespace) -> None:
    """Run the configuration on whichever nodes join."""
    need_flower("hashfed serve")
    from hashfed.deploy.commands import split_address
    from hashfed.deploy.keys import private_keys, registered_keys
    from hashfed.deploy.processes import SuperLink
    from hashfed.engines.network.rounds import check_config

    config = absolute(load_config(arguments.config, overrides(arguments)))
    check_config(config)
    host, port = split_address(arguments.address)
    if arguments.nodes < 1:
        raise HashfedError(f"--nodes = {arguments.nodes}: must be at least 1")
    secure = None if arguments.secure is None else arguments.secure.absolute()
    keys = [] if secure is None else registered_keys(secure)
    if secure is not None and secure.is_dir() and len(keys) < arguments.nodes:
        raise HashfedError(
            f"--nodes = {arguments.nodes}: {secure / 'nodes'} has {len(keys)} keys (*.pub); "
            f"register those of clients with hashfed certificates {arguments.secure} --public-key PATH"
        )
    if arguments.show_commands:
        print(_script(config, host, port, secure, keys))
        return
    with SuperLink(host=host, port=port, secure=secure) as superlink:
        secrets = [] if secure is None else private_keys(secure)
        for line in warnings(config, host, secure is not None, secrets):
            say(line)
        say(f"SuperLink at {superlink.address}{' with TLS and registered nodes' if secure else ''}")
        count, how = arguments.nodes, " --secure DIR --node NAME" if secure else ""
        say(f"waiting for {count} node(s); on each: hashfed join {superlink.address}{how} ...")
        superlink.wait_for_nodes(count, math.inf, lambda online: say(f"{online} of {count} node(s) online"))
        _run(superlink, config)


def warnings(config: Config, host: str, secure: bool, private_keys: Sequence[str] = ()) -> list[str]:
    """What somebody should know who serves nodes on other machines; nothing for those on this one."""
    if host in ("127.0.0.1", "::1", "localhost"):
        return []
    found = []
    if not secure:
        found.append("without --secure, anyone who reaches this address can read the traffic and join")
    if private_keys:
        few = ", ".join([*private_keys[:3], *(["..."] if len(private_keys) > 3 else [])])
        found.append(
            f"private keys of {len(private_keys)} nodes ({few}) are on this machine, which could join as "
            "they; let clients make their own (hashfed certificates DIR --client NAME)"
        )
    if config.server.clip is None:
        found.append("without server.clip, a single client can move the model far")
    if config.selection.delivery == "pre-generated" and config.flower.slices_url is None:
        found.append("without flower.slices_url, only nodes on this machine find the slices")
    return found


def absolute(config: Config) -> Config:
    """The configuration with paths that mean the same in every folder, for the ServerApp runs in another."""
    flower = config.flower
    if flower.slices is not None:
        flower = flower.model_copy(update={"slices": str(Path(flower.slices).absolute())})
    changes = {"output": str(config.folder().absolute()), "data": config.data.absolute(), "flower": flower}
    return config.model_copy(update=changes)


def _run(superlink: "SuperLink", config: Config) -> None:
    """Submit, show the log, and end as the run does."""
    from hashfed.deploy.app_folder import write_app
    from hashfed.deploy.runs import reason_of, run_app, stop_run, wait_for_run

    with tempfile.TemporaryDirectory(prefix="hashfed-") as folder:
        app = Path(folder) / "app"
        write_app(app, config)
        run_id = run_app(superlink, app)
    say(f"run {run_id} started; run folder: {config.output}")
    try:
        result = wait_for_run(superlink, run_id, show=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        say(f"stopping run {run_id}")
        with contextlib.suppress(HashfedError):  # a signal to all processes has ended the SuperLink too
            stop_run(superlink, run_id)
        if not RunFolder(config.folder()).wait_until_free(SECONDS_TO_SAVE):
            say(f"{config.folder()}: still being written after {SECONDS_TO_SAVE:g} s; left behind")
        raise
    if result.status != "completed":
        raise HashfedError(f"run {run_id} {result.status}: {reason_of(result)}")
    say(f"run {run_id} completed; run folder: {config.output}")


def _script(config: Config, host: str, port: int, secure: Path | None, keys: Sequence[Path]) -> str:
    """The same as a shell script with the commands of Flower."""
    from hashfed.deploy.app_folder import app_toml
    from hashfed.deploy.commands import (
        connection_toml,
        join_address,
        reachable_host,
        register_command,
        run_command,
        settings,
        superlink_command,
    )

    address = join_address(reachable_host(host), port)
    return "\n".join(
        [
            "# Flower's own folder, and where flwr finds the SuperLink",
            *(f"export {name}={value}" for name, value in settings(Path("$PWD/flower")).items()),
            "mkdir -p flower hashfed-app",
            f"cat > flower/config.toml <<'END'\n{connection_toml(address, secure)}END",
            f"cat > hashfed-app/pyproject.toml <<'END'\n{app_toml(config)}END",
            "",
            "# the SuperLink, in a terminal of its own that has the same variables: flower-superlink, whose",
            "# control interface (flwr run, flwr supernode register) answers this machine alone",
            shell(superlink_command(host, port, secure)),
            *(["", "# the nodes that may join"] if keys else []),
            *(shell(register_command(key)) for key in keys),
            "",
            "# when the nodes are online",
            shell([*run_command(Path("hashfed-app")), "--stream"]),
        ]
    )


SERVE = Command(
    name="serve",
    help="train on other machines: the server, with Flower",
    description="Start a Flower SuperLink, wait for nodes (hashfed join), train, end as the run does. "
    "The run is kept in a folder here; the same command resumes it.",
    run=serve,
    add=add_serve,
    settings=True,
    usage="[--address HOST:PORT] [--secure DIR] [--nodes N]",
)
