"""Keys by which a SuperLink knows its nodes: a pair made where the node is, public ones given to the server.

A folder of certificates has a node's private key as ``nodes/<name>``, in Flower's format, and its public key
as ``nodes/<name>.pub``, a line as OpenSSH writes it. Who has the private key is that node; nobody else needs
it.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
    ssh_key_fingerprint,
)

from hashfed.errors import HashfedError
from hashfed.files import create_together

LONGEST_KEY = 1 << 16
"""Bytes of a file that may be a key."""

OF_THE_SERVER = ("ca.key", "server.key")
"""Whoever has these has the server's folder."""

PublicKey = ec.EllipticCurvePublicKey


def make_client_key(folder: Path, node: str) -> tuple[Path, Path]:
    """Make a node's key pair where the node is: ``nodes/<node>`` and ``nodes/<node>.pub``, which it returns.

    A private key that lost its public one, as where the process was killed between the two, gets it again.

    Raises:
        HashfedError: where a file would be overwritten, naming it; where the folder is the server's, for then
            the private key would be on the server; where it cannot be written or the name is none.

    """
    check_node(node, "--client")
    for name in OF_THE_SERVER:
        if (folder / name).exists():
            raise HashfedError(
                f"--client = {node}: {folder} is the server's folder (it has {name}); a client's key is made "
                "on the client's machine, in a folder there"
            )
    private, public = key_files(folder, node)
    if private[0].exists() and not public[0].exists():
        create_together([(public[0], _public_of(private[0]), public[2])])
    else:
        create_together([private, public])
    return private[0], public[0]


def key_files(folder: Path, node: str) -> list[tuple[Path, bytes, int]]:
    """A new key pair of a node, the private key first: path, content and mode; nothing is written."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    path = folder / "nodes" / node
    return [(path, private, 0o600), (_public_path(folder, node), as_line(key.public_key()), 0o644)]


def given_keys(folder: Path, sources: Sequence[Path]) -> dict[Path, PublicKey]:
    """The public keys in ``sources`` that a server's folder does not have yet, by the path they get there.

    Args:
        folder: the server's.
        sources: files ``NAME.pub``, or folders of them.

    Raises:
        HashfedError: naming the first file that is not a node's public key, or has the name or the key of
            another.

    """
    known = {path: read_public_key(path) for path in _files(folder / "nodes")}
    owners = _owners(known)
    new: dict[Path, PublicKey] = {}
    for path in _expand(sources):
        key = read_public_key(path)
        if path.suffix != ".pub":
            raise HashfedError(f"{path}: must be named NAME.pub, where NAME is the node's")
        check_node(path.stem, f"{path}: the name")
        place = _public_path(folder, path.stem)
        before = known.get(place, new.get(place))
        if before is not None and before != key:
            raise HashfedError(
                f"{path}: node {path.stem} has another key ({place}); a new key takes a new name, or delete "
                "that file"
            )
        owner = owners.setdefault(as_line(key), place)
        if owner != place:
            raise HashfedError(f"{path}: the same key as {owner}; every node needs a key of its own")
        if before is None:
            new[place] = key
    return new


def register(keys: dict[Path, PublicKey]) -> None:
    """Write public keys where ``given_keys`` says, all or none.

    Raises:
        HashfedError: where a file cannot be written, or has come to be there.

    """
    create_together([(path, as_line(key), 0o644) for path, key in keys.items()])


def registered_keys(folder: Path) -> list[Path]:
    """The public keys in a server's folder, all of which a SuperLink can take.

    Raises:
        HashfedError: naming the first file that is not a node's public key, or holds the key of another.

    """
    keys = {path: read_public_key(path) for path in _files(folder / "nodes")}
    _owners(keys)
    return list(keys)


def private_keys(folder: Path) -> list[str]:
    """The nodes whose private keys are in the folder too."""
    return [path.stem for path in _files(folder / "nodes") if path.with_suffix("").exists()]


def read_public_key(path: Path) -> PublicKey:
    """A node's public key.

    Raises:
        HashfedError: naming the file, and never what is in it: it may be a secret.

    """
    data = _read(path)
    if b"PRIVATE KEY-----" in data or b"Private-Lines:" in data:
        raise HashfedError(
            f"{path}: a private key, which only its owner may have; ask for the public one (NAME.pub) of a "
            "new pair"
        )
    try:
        if len(data) > LONGEST_KEY or len(data.strip().splitlines()) > 1:
            raise ValueError
        key = load_ssh_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise HashfedError(
            f"{path}: not a public key; must be one line as hashfed certificates --client writes it"
        ) from None
    if not isinstance(key, PublicKey):
        kind = data.split(maxsplit=1)[0].decode()
        raise HashfedError(f"{path}: a key of the kind {kind}; must be on a NIST curve (ecdsa-sha2-nistp384)")
    return key


def as_line(key: PublicKey) -> bytes:
    """A public key as OpenSSH writes it, without a comment."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def fingerprint(key: PublicKey) -> str:
    """What two people compare to be sure that they have the same key; ``ssh-keygen -lf`` shows it too."""
    return "SHA256:" + base64.b64encode(ssh_key_fingerprint(key, hashes.SHA256())).decode().rstrip("=")


def check_node(name: str, option: str = "--node") -> None:
    """Refuse what cannot be both a file's and a node's name.

    Raises:
        HashfedError: naming the node.

    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name.endswith(".pub"):
        raise HashfedError(
            f"{option} {name!r}: must be letters, digits, '.', '_' and '-', and not end in .pub"
        )


def _owners(keys: dict[Path, PublicKey]) -> dict[bytes, Path]:
    """Whose a key is; every one has one owner."""
    owners: dict[bytes, Path] = {}
    for path, key in keys.items():
        owner = owners.setdefault(as_line(key), path)
        if owner != path:
            raise HashfedError(f"{path}: the same key as {owner}; every node needs a key of its own")
    return owners


def _expand(sources: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for source in sources:
        inside = _files(source) if source.is_dir() else [source]
        if not inside:
            raise HashfedError(f"{source}: no public key (*.pub) in this folder")
        found += inside
    return found


def _files(folder: Path) -> list[Path]:
    """Public keys by their names; hidden files are somebody else's, such as those of a Finder."""
    return sorted(path for path in folder.glob("*.pub") if not path.name.startswith("."))


def _read(path: Path) -> bytes:
    """No more than a key may have, and one byte."""
    try:
        if path.exists() and not path.is_file():
            raise HashfedError(f"{path}: not a file")
        with path.open("rb") as file:
            return file.read(LONGEST_KEY + 1)
    except OSError as error:
        raise HashfedError(f"{path}: cannot be read ({error.strerror or error})") from None


def _public_of(private: Path) -> bytes:
    try:
        key = load_ssh_private_key(_read(private), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise HashfedError(f"{private}: exists and is not overwritten")
    return as_line(key.public_key())


def _public_path(folder: Path, node: str) -> Path:
    return folder / "nodes" / f"{node}.pub"
