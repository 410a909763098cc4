"""``hashfed certificates``."""

import argparse
from pathlib import Path

from hashfed.cli.arguments import Parser, path, whole
from hashfed.cli.command import Command
from hashfed.cli.flower_extra import need_flower
from hashfed.errors import HashfedError


def add_certificates(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "folder", type=path, metavar="DIR", help="where the files go; with certificates in it, add nodes"
    )
    parser.add_argument(
        "--host",
        action="append",
        metavar="NAME",
        help="DNS name or IP address under which nodes reach the SuperLink; may be repeated "
        "[localhost and 127.0.0.1 always are]",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--nodes", type=whole, metavar="N", help="so many (further) nodes: node-0, node-1, ..."
    )
    group.add_argument("--node", action="append", metavar="NAME", help="a (further) node; may be repeated")
    parser.add_argument(
        "--days", type=whole, default=365, help="how long the certificates are valid [default %(default)s]"
    )


def certificates(arguments: argparse.Namespace) -> None:
    """Write the files, and tell who gets which."""
    need_flower("hashfed certificates")
    from hashfed.deploy.certificates import further_nodes, make_certificates

    folder: Path = arguments.folder
    if arguments.nodes is not None and not 1 <= arguments.nodes <= 10_000:
        raise HashfedError(f"--nodes = {arguments.nodes}: must be from 1 to 10000")
    nodes = arguments.node or (further_nodes(folder, arguments.nodes) if arguments.nodes else [])
    new = make_certificates(folder, arguments.host, nodes, arguments.days)
    if folder / "ca.key" in new:
        print(f"{folder}/ca.key  keep secret; not needed to run anything")
        print(
            f"{folder}/ca.crt, server.pem, server.key, nodes/*.pub  the SuperLink: hashfed serve --secure DIR"
        )
    for node in nodes:
        print(f"{folder}/ca.crt, nodes/{node}  this node: hashfed join HOST:PORT --secure DIR --node {node}")
    if nodes:
        print("Give every node its own key only, over a safe channel. A running SuperLink learns of further")
        print("nodes when it is started again.")


CERTIFICATES = Command(
    name="certificates",
    help="train on other machines: TLS certificates and keys of nodes",
    description="Make an authority, a certificate for the SuperLink and a key pair for each node, or "
    "keys for further nodes. Overwrites nothing.",
    run=certificates,
    add=add_certificates,
)
