"""``hashfed join``: one SuperNode."""

import argparse
import os
from pathlib import Path

from hashfed.cli.arguments import Parser, path, real, whole
from hashfed.cli.command import Command
from hashfed.cli.flower_extra import need_flower, shell
from hashfed.cli.streams import say
from hashfed.data.named import NAMED
from hashfed.display import brief
from hashfed.errors import HashfedError
from hashfed.files import with_home


def add_join(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument("address", metavar="HOST:PORT", help="where the SuperLink of hashfed serve listens")
    group = parser.add_argument_group("who this node is")
    group.add_argument("--secure", type=path, metavar="DIR", help="folder with ca.crt and nodes/NAME")
    group.add_argument("--node", metavar="NAME", help="name of the key in DIR/nodes")
    group = parser.add_argument_group("whose data it trains on")
    group.add_argument(
        "--texts", type=path, metavar="FOLDER", help="this machine's own texts: a folder or JSON Lines file"
    )
    group.add_argument(
        "--client", metavar="NAME", help="whose texts they all are [default: as files and lines say]"
    )
    group.add_argument(
        "--partition",
        type=whole,
        metavar="I",
        help="the I-th share of the clients in the source, from 0; not with --texts",
    )
    group.add_argument("--partitions", type=whole, metavar="N", help="number of shares")
    group.add_argument(
        "--source", metavar="PATH", help="the source on this machine [default: the run's, if it has a name]"
    )
    group.add_argument(
        "--state",
        type=path,
        metavar="FOLDER",
        help="where this node keeps what compression.error_feedback held back, so that a run that is resumed "
        "goes on with the same bits [default: forgotten with the run]",
    )
    group.add_argument(
        "--slices",
        metavar="WHERE",
        help="URL or folder of slices for selection.delivery: pre-generated [default: where the server says]",
    )
    group.add_argument(
        "--least-clients",
        type=whole,
        metavar="N",
        help="with selection.delivery: secure, take part in sums of at least so many clients, whatever the "
        "server proposes [default: 3]",
    )
    parser.add_argument(
        "--wait",
        type=real,
        default=90,
        metavar="SECONDS",
        help="for a SuperLink that is not there yet, or refuses this node [default %(default)s]",
    )
    parser.add_argument(
        "--show-commands", action="store_true", help="print the command of Flower instead, and start nothing"
    )


def join(arguments: argparse.Namespace) -> None:
    """Stay joined until Ctrl-C, or a signal that ends processes."""
    need_flower("hashfed join")
    from hashfed.deploy.commands import (
        join_address,
        missing_files,
        settings,
        split_address,
        supernode_command,
    )
    from hashfed.deploy.joining import stay_joined
    from hashfed.deploy.processes import SuperNode

    address = join_address(*split_address(arguments.address, "HOST:PORT"))
    config = node_config(arguments)
    secure, node = arguments.secure, arguments.node
    if node is not None and secure is None:
        raise HashfedError(f"--node = {node}: needs --secure DIR, the folder with its key")
    if not 0 <= arguments.wait <= 86_400:
        raise HashfedError(f"--wait = {arguments.wait:g}: must be from 0 to 86400")
    if secure is not None:
        secure = secure.absolute()
        missing_files(secure, ["ca.crt"] if node is None else ["ca.crt", f"nodes/{node}"])
    if arguments.show_commands:
        command = supernode_command(address, 9094, config, secure, node)
        print("# --port is the node's own, for its ClientApps: a different one for every node of a machine")
        print(shell(command, settings(Path("flower").absolute())))
        return
    supernode = SuperNode(address, config, secure=secure, node=node)
    try:
        stay_joined(supernode, arguments.wait, say, lambda line: print(line, flush=True))
    finally:
        supernode.close()


def node_config(arguments: argparse.Namespace) -> dict[str, str | int | float | bool]:
    """What the ClientApp reads, such as ``texts`` and ``client``, or ``partition-id``.

    Raises:
        HashfedError: where options contradict each other, or a path is not readable.

    """
    texts, source = arguments.texts, arguments.source
    share, shares = arguments.partition, arguments.partitions
    if (share is None) != (shares is None):
        raise HashfedError(
            "--partition and --partitions: only together, such as --partition 0 --partitions 4"
        )
    if share is not None and not 0 <= share < shares:
        raise HashfedError(f"--partition = {share}: must be from 0 to --partitions - 1 = {shares - 1}")
    if texts is not None and (share is not None or source is not None):
        raise HashfedError(f"--texts = {texts}: instead of --partition and --source, not with them")
    if texts is None and arguments.client is not None:
        raise HashfedError(f"--client = {arguments.client}: needs --texts")
    if texts is None and share is None:
        raise HashfedError("whose data? give --texts FOLDER --client NAME, or --partition I --partitions N")
    config: dict[str, str | int | float | bool] = {}
    if texts is not None:
        config["texts"] = _readable("--texts", texts)
    if arguments.client is not None:
        config["client"] = arguments.client
    if share is not None:
        config["partition-id"], config["num-partitions"] = share, shares
    if source is not None:
        config["source"] = source if source in NAMED else _readable("--source", Path(with_home(source)))
    if arguments.state is not None:
        config["state"] = _writable("--state", arguments.state)
    if arguments.slices is not None:
        from hashfed.engines.slice_store import is_url

        where = arguments.slices
        url = is_url(where, f"--slices = {where}")
        config["slices"] = where if url else _readable("--slices", Path(with_home(where)))
    if arguments.least_clients is not None:
        from hashfed.federated.sum_secrets import demands_of

        config["least-clients"] = demands_of("--least-clients", arguments.least_clients).least_clients
    return config


def _writable(option: str, folder: Path) -> str:
    """A folder that is there, or can be made when it is needed."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise HashfedError(f"{option} = {folder}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise HashfedError(f"{option} = {folder}: {there} is not writable by this user")
    return str(folder.absolute())


def _readable(option: str, path: Path) -> str:
    try:
        found = path.exists()
    except OSError as error:
        raise HashfedError(f"{option} = {brief(str(path))}: {error.strerror or error}") from None
    if not found:
        raise HashfedError(f"{option} = {path}: no such file or folder")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise HashfedError(f"{option} = {path}: not readable by this user")
    return str(path.absolute())


JOIN = Command(
    name="join",
    help="train on other machines: one node, with Flower",
    description="Start a Flower SuperNode that trains on the data of this machine until Ctrl-C. The data "
    "stay here. Waits for a SuperLink that is not there yet, and joins again when it starts anew.",
    run=join,
    add=add_join,
)
