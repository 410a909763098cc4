"""``hashfed certificates``."""

import argparse
from pathlib import Path

from hashfed.cli.arguments import Parser, path, whole
from hashfed.cli.command import Command
from hashfed.cli.flower_extra import need_flower
from hashfed.errors import HashfedError

DAYS = 365


def add_certificates(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "folder", type=path, metavar="DIR", help="where the files go; what is there is not overwritten"
    )
    group = parser.add_argument_group("on a client's own machine")
    group.add_argument(
        "--client",
        metavar="NAME",
        help="make the key pair of this node here and nothing else; who runs the server gets the public key",
    )
    group = parser.add_argument_group("on the server")
    group.add_argument(
        "--host",
        action="append",
        metavar="NAME",
        help="DNS name or IP address under which nodes reach the SuperLink; may be repeated "
        "[localhost and 127.0.0.1 always are]",
    )
    group.add_argument("--days", type=whole, help=f"how long the certificates are valid [default {DAYS}]")
    group.add_argument(
        "--public-key",
        action="append",
        type=path,
        metavar="PATH",
        help="let the node with this key join: a file NAME.pub, or a folder of them; may be repeated",
    )
    group = parser.add_argument_group("to try it on one machine, which then has everybody's private keys")
    group.add_argument(
        "--nodes", type=whole, metavar="N", help="so many (further) nodes: node-0, node-1, ..."
    )
    group.add_argument("--node", action="append", metavar="NAME", help="a (further) node; may be repeated")


def certificates(arguments: argparse.Namespace) -> None:
    """Write the files, and tell who gets which."""
    need_flower("hashfed certificates")
    given = [
        name for name in ("client", "public_key", "nodes", "node") if getattr(arguments, name) is not None
    ]
    if arguments.client is not None:
        given += [name for name in ("host", "days") if getattr(arguments, name) is not None]
    if len(given) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in given[:2])
        raise HashfedError(f"{second}: not with {first}")
    if arguments.client is not None:
        _client(arguments.folder, arguments.client)
    elif arguments.public_key is not None:
        _register(arguments)
    else:
        _one_machine(arguments)


def _client(folder: Path, node: str) -> None:
    """The key pair of a node, where it is."""
    from hashfed.deploy.keys import fingerprint, make_client_key, read_public_key

    private, public = make_client_key(folder, node)
    print(f"{private}  this node's private key; it stays on this machine")
    print(f"{public}  for who runs the server: hashfed certificates DIR --public-key {public.name}")
    print(f"{fingerprint(read_public_key(public))}  tells that they got this one, not another")
    print(f"With the server's ca.crt in {folder}: hashfed join HOST:PORT --secure {folder} --node {node}")


def _register(arguments: argparse.Namespace) -> None:
    """Public keys of nodes, in a folder that gets an authority if it has none."""
    from hashfed.deploy.certificates import AUTHORITY, make_certificates
    from hashfed.deploy.keys import fingerprint, given_keys, register

    folder: Path = arguments.folder
    keys = given_keys(folder, arguments.public_key)
    begun = any((folder / name).exists() for name in AUTHORITY)
    if not begun or arguments.host is not None or arguments.days is not None:
        make_certificates(folder, arguments.host, days=DAYS if arguments.days is None else arguments.days)
        _tell_server(folder)
    register(keys)
    for place, key in keys.items():
        print(f"{place}  {fingerprint(key)}")
    if keys:
        print(
            "Ask each client whether its machine showed the same. A running SuperLink learns of further nodes"
        )
        print("when it is started again.")
    else:
        print(f"{folder}/nodes  has all of these keys already")


def _one_machine(arguments: argparse.Namespace) -> None:
    """The server's files, and private keys of nodes beside them."""
    from hashfed.deploy.certificates import further_nodes, make_certificates

    folder: Path = arguments.folder
    if arguments.nodes is not None and not 1 <= arguments.nodes <= 10_000:
        raise HashfedError(f"--nodes = {arguments.nodes}: must be from 1 to 10000")
    nodes = arguments.node or (further_nodes(folder, arguments.nodes) if arguments.nodes else [])
    days = DAYS if arguments.days is None else arguments.days
    new = make_certificates(folder, arguments.host, nodes, days)
    if folder / "ca.key" in new:
        _tell_server(folder)
    for node in nodes:
        print(f"{folder}/ca.crt, nodes/{node}  this node: hashfed join HOST:PORT --secure DIR --node {node}")
    if nodes:
        print(
            "For trying on one machine: these private keys were made here. On other machines let each client"
        )
        print("make its own, hashfed certificates DIR --client NAME, and register the public one with")
        print("--public-key. A running SuperLink learns of further nodes when it is started again.")


def _tell_server(folder: Path) -> None:
    print(f"{folder}/ca.key  keep secret; not needed to run anything")
    print(f"{folder}/ca.crt, server.pem, server.key, nodes/*.pub  the SuperLink: hashfed serve --secure DIR")


CERTIFICATES = Command(
    name="certificates",
    help="train on other machines: TLS certificates and keys of nodes",
    description="On the server: make an authority and a certificate for the SuperLink, and register the "
    "public keys of clients. On a client: make its key pair. Overwrites nothing.",
    run=certificates,
    add=add_certificates,
)
