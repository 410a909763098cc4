import datetime
import ipaddress
import stat
from pathlib import Path

import pytest

from hashfed.errors import HashfedError

pytest.importorskip("flwr")

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from cryptography.x509.verification import PolicyBuilder, Store

from hashfed.deploy.certificates import further_nodes, make_certificates


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_certificates(tmp_path / "secure", ["example.org", "192.0.2.7", "::1"], ["ann", "bob"], days=30)
    return tmp_path / "secure"


def test_the_chain_verifies_for_every_host(folder: Path) -> None:
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    server = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    for host in ("localhost", "127.0.0.1", "example.org", "192.0.2.7", "::1"):
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        assert isinstance(name, x509.DNSName | x509.IPAddress)
        chain = PolicyBuilder().store(Store([authority])).build_server_verifier(name).verify(server, [])
        assert chain == [server, authority]
    left = server.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=29) < left <= datetime.timedelta(days=30)


def test_private_files_are_private(folder: Path) -> None:
    for name in ("ca.key", "server.key", "nodes/ann", "nodes/bob"):
        assert mode(folder / name) == 0o600
    for name in ("ca.crt", "server.pem", "nodes/ann.pub", "nodes/bob.pub"):
        assert mode(folder / name) & 0o077 in (0o044, 0)


def test_a_node_has_a_key_pair(folder: Path) -> None:
    private = load_ssh_private_key((folder / "nodes/ann").read_bytes(), None)
    public = load_ssh_public_key((folder / "nodes/ann.pub").read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP384R1)
    assert private.public_key() == public
    assert (folder / "nodes/bob").read_bytes() != (folder / "nodes/ann").read_bytes()


def test_further_nodes_leave_the_rest(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    new = make_certificates(folder, nodes=further_nodes(folder, 2))
    assert [path.relative_to(folder).as_posix() for path in new] == [
        "nodes/node-0",
        "nodes/node-0.pub",
        "nodes/node-1",
        "nodes/node-1.pub",
    ]
    assert {path: path.read_bytes() for path in before} == before
    assert further_nodes(folder, 2) == ["node-2", "node-3"]


@pytest.mark.parametrize(
    ("hosts", "nodes", "named"),
    [
        (None, [], "ca.crt"),
        (["example.org"], ["cleo"], "ca.crt"),
        (None, ["cleo", "ann"], "nodes/ann"),
    ],
)
def test_nothing_is_overwritten(folder: Path, hosts: list[str] | None, nodes: list[str], named: str) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(HashfedError) as error:
        make_certificates(folder, hosts, nodes)
    assert str(error.value) == f"{folder / named}: exists and is not overwritten"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_half_a_folder_is_not_completed(folder: Path) -> None:
    (folder / "ca.key").unlink()
    with pytest.raises(HashfedError, match=r"ca.crt: exists and is not overwritten"):
        make_certificates(folder, nodes=["cleo"])


@pytest.mark.parametrize("host", ["", "a b", "example.org:8000", "http://x", "-a", "é.org"])
def test_hosts_that_are_none(tmp_path: Path, host: str) -> None:
    with pytest.raises(HashfedError, match=r"--host .*: must be a DNS name or an IP address"):
        make_certificates(tmp_path, [host])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("node", ["", "../x", "a/b", ".hidden", "a.pub", "a b", "-x"])
def test_names_that_are_none(tmp_path: Path, node: str) -> None:
    with pytest.raises(HashfedError, match=r"--node .*: must be letters, digits"):
        make_certificates(tmp_path, nodes=[node])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_days_out_of_range(tmp_path: Path, days: int) -> None:
    with pytest.raises(HashfedError, match=f"--days = {days}: must be from 1 to 36500"):
        make_certificates(tmp_path, days=days)


def test_two_nodes_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(HashfedError, match="--node ann ann: every node needs a name of its own"):
        make_certificates(tmp_path, nodes=["ann", "ann"])
