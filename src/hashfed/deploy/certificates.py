"""Certificates of a deployment: a private authority and the SuperLink's server certificate.

Whoever starts the SuperLink keeps the folder, with the public keys of nodes in ``nodes/*.pub`` (``keys``). A
node needs ``ca.crt`` and ``nodes/<name>``, nothing else.
"""

import datetime
import ipaddress
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hashfed.deploy.keys import check_node, key_files
from hashfed.errors import HashfedError
from hashfed.files import create_together

LOCAL = ("localhost", "127.0.0.1")
"""Always among the hosts, so that ``flwr`` on the SuperLink's own machine can talk to it."""

AUTHORITY = ("ca.crt", "ca.key", "server.pem", "server.key")


def make_certificates(
    folder: Path, hosts: Sequence[str] | None = None, nodes: Sequence[str] = (), days: int = 365
) -> list[Path]:
    """Write the files of a deployment, and return the new ones.

    In a folder without certificates: ``ca.crt``, ``ca.key``, ``server.pem``, ``server.key`` (for ``hosts``
    and always for localhost), and for each node ``nodes/<name>`` with ``nodes/<name>.pub``: private keys that
    are made here rather than where the node is, for trying on one machine. In a folder that has certificates,
    only further nodes: the authority and the server stay as they are. All files are written, or none.

    Raises:
        HashfedError: where a file would be overwritten, naming it; where a host, a node's name or the
            number of days is none; where the folder cannot be written.

    """
    for host in hosts or ():
        _check_host(host)
    for node in nodes:
        check_node(node)
    if len(set(nodes)) < len(nodes):
        raise HashfedError(f"--node {' '.join(nodes)}: every node needs a name of its own")
    if not 1 <= days <= 36_500:
        raise HashfedError(f"--days = {days}: must be from 1 to 36500")
    old = [folder / name for name in AUTHORITY if (folder / name).exists()]
    only_nodes = bool(nodes) and hosts is None and len(old) == len(AUTHORITY)
    keys = [file for node in nodes for file in key_files(folder, node)]
    for path in [*([] if only_nodes else old), *(path for path, _, _ in keys if path.exists())]:
        raise HashfedError(f"{path}: exists and is not overwritten")
    new: list[tuple[Path, bytes, int]] = []
    if not only_nodes:
        new += [
            (folder / name, data, _mode(name))
            for name, data in _authority(dict.fromkeys([*LOCAL, *(hosts or ())]), days).items()
        ]
    new += keys
    create_together(new)
    return [path for path, _, _ in new]


def further_nodes(folder: Path, count: int) -> list[str]:
    """Names ``node-<number>`` for so many nodes that the folder does not have yet."""
    taken = {path.name for path in (folder / "nodes").glob("*")}
    numbers = (number for number in range(len(taken) + count) if f"node-{number}" not in taken)
    return [f"node-{number}" for number, _ in zip(numbers, range(count), strict=False)]


def _mode(name: str) -> int:
    return 0o600 if name.endswith(".key") else 0o644


def _check_host(host: str) -> None:
    label = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
    if _ip(host) is None and not re.fullmatch(rf"(\*\.)?{label}(\.{label})*", host):
        raise HashfedError(f"--host {host!r}: must be a DNS name or an IP address, without a port")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _authority(hosts: Iterable[str], days: int) -> dict[str, bytes]:
    """The files of a new authority and of the one server it vouches for."""
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hashfed certificate authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hashfed SuperLink")])
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    root = (
        _builder(issuer, issuer, authority.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority, hashes.SHA256())
    )
    addresses = [(host, _ip(host)) for host in hosts]
    names = x509.SubjectAlternativeName(
        [x509.DNSName(host) if ip is None else x509.IPAddress(ip) for host, ip in addresses]
    )
    leaf = (
        _builder(subject, issuer, server.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(server.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False
        )
        .sign(authority, hashes.SHA256())
    )
    return {
        "ca.crt": root.public_bytes(Encoding.PEM),
        "ca.key": authority.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "server.pem": leaf.public_bytes(Encoding.PEM),
        "server.key": server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks of other machines may be a little late.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
