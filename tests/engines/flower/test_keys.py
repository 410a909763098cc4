import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from hashfed.errors import HashfedError

pytest.importorskip("flwr")

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from hashfed.deploy import keys
from hashfed.deploy.keys import (
    as_line,
    fingerprint,
    given_keys,
    make_client_key,
    private_keys,
    read_public_key,
    register,
    registered_keys,
)
from hashfed.deploy.processes import SuperLink

SECRET = ec.generate_private_key(ec.SECP384R1())
PEM, LINE = (Encoding.PEM, NoEncryption()), (Encoding.OpenSSH, PublicFormat.OpenSSH)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def refused(folder: Path, *sources: Path) -> str:
    """The one line of the mistake, after which the folder is as it was."""
    before = contents(folder)
    with pytest.raises(HashfedError) as error:
        given_keys(folder, sources)
    assert contents(folder) == before
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A server's folder that knows bob."""
    make_client_key(tmp_path / "bob's", "bob")
    register(given_keys(tmp_path / "server", [tmp_path / "bob's" / "nodes" / "bob.pub"]))
    return tmp_path / "server"


def test_a_client_has_both_and_the_server_the_public_key_alone(tmp_path: Path, server: Path) -> None:
    private, public = make_client_key(tmp_path / "own", "ann")
    assert contents(tmp_path / "own").keys() == {"nodes/ann", "nodes/ann.pub"}
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    secret = load_ssh_private_key(private.read_bytes(), None)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    assert isinstance(secret.curve, ec.SECP384R1)
    assert secret.public_key() == read_public_key(public)
    given = given_keys(server, [public])
    assert given == {server / "nodes" / "ann.pub": secret.public_key()}
    register(given)
    assert contents(server).keys() == {"nodes/ann.pub", "nodes/bob.pub"}
    assert (server / "nodes" / "ann.pub").read_bytes() == public.read_bytes()
    assert registered_keys(server) == [server / "nodes" / "ann.pub", server / "nodes" / "bob.pub"]
    assert private_keys(server) == []
    assert private_keys(tmp_path / "own") == ["ann"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    private, public = make_client_key(tmp_path, "ann")
    before = contents(tmp_path)
    with pytest.raises(HashfedError, match=f"{private}: exists and is not overwritten"):
        make_client_key(tmp_path, "ann")
    assert contents(tmp_path) == before
    private.unlink()
    with pytest.raises(HashfedError, match=f"{public}: exists and is not overwritten"):
        make_client_key(tmp_path, "ann")
    assert contents(tmp_path) == {"nodes/ann.pub": before["nodes/ann.pub"]}


def test_a_private_key_gets_its_public_one_again(tmp_path: Path) -> None:
    private, public = make_client_key(tmp_path, "ann")
    before = contents(tmp_path)
    public.unlink()
    assert make_client_key(tmp_path, "ann") == (private, public)
    assert contents(tmp_path) == before
    public.unlink()
    private.write_bytes(b"mine")
    with pytest.raises(HashfedError, match=f"{private}: exists and is not overwritten"):
        make_client_key(tmp_path, "ann")
    assert contents(tmp_path) == {"nodes/ann": b"mine"}


@pytest.mark.parametrize("name", ["ca.key", "server.key"])
def test_no_client_key_is_made_on_the_server(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(HashfedError, match=rf"--client = ann: .* is the server's folder \(it has {name}\)"):
        make_client_key(tmp_path, "ann")
    assert contents(tmp_path).keys() == {name}


def test_keys_come_in_files_and_folders_and_may_come_twice(tmp_path: Path, server: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for node in ("ann", "cleo"):
        shutil.copy(make_client_key(tmp_path / node, node)[1], inbox)
    (inbox / "._ann.pub").write_bytes(b"\0\5\x16\7 of a Finder")
    (inbox / "readme.txt").write_text("not a key")
    sources = [inbox, inbox / "ann.pub", tmp_path / "bob's" / "nodes"]
    assert list(given_keys(server, sources)) == [server / "nodes" / "ann.pub", server / "nodes" / "cleo.pub"]
    register(given_keys(server, sources))
    assert given_keys(server, sources) == {}
    assert contents(server).keys() == {"nodes/ann.pub", "nodes/bob.pub", "nodes/cleo.pub"}


@pytest.mark.parametrize(
    "data",
    [
        SECRET.private_bytes(PEM[0], PrivateFormat.OpenSSH, PEM[1]),
        SECRET.private_bytes(PEM[0], PrivateFormat.PKCS8, PEM[1]),
        SECRET.private_bytes(PEM[0], PrivateFormat.TraditionalOpenSSL, PEM[1]),
        as_line(SECRET.public_key()) + b"\n" + SECRET.private_bytes(PEM[0], PrivateFormat.OpenSSH, PEM[1]),
        b"PuTTY-User-Key-File-3: ecdsa-sha2-nistp384\nPrivate-Lines: 2\nAAAA\n",
    ],
    ids=["openssh", "pkcs8", "sec1", "both", "putty"],
)
@pytest.mark.parametrize("name", ["ann", "ann.pub"])
def test_a_private_key_is_refused_and_never_shown(
    tmp_path: Path, server: Path, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert refused(server, path) == (
        f"{path}: a private key, which only its owner may have; ask for the public one (NAME.pub) of a new "
        "pair"
    )


LINE_384 = as_line(SECRET.public_key())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\xff\xfe\0",
        LINE_384[:-9],
        LINE_384[:-9] + b"AAAAAAAA",
        LINE_384 + b"\n" + as_line(ec.generate_private_key(ec.SECP384R1()).public_key()),
        LINE_384 + b" " * (1 << 16),
        SECRET.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        SECRET.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "text", "binary", "cut", "altered", "two", "long", "pem", "der"],
)
def test_what_is_not_a_public_key(tmp_path: Path, server: Path, data: bytes) -> None:
    path = tmp_path / "ann.pub"
    path.write_bytes(data)
    assert refused(server, path) == (
        f"{path}: not a public key; must be one line as hashfed certificates --client writes it"
    )


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*LINE), "ssh-ed25519"),
        (rsa.generate_private_key(65537, 1024).public_key().public_bytes(*LINE), "ssh-rsa"),
    ],
    ids=["ed25519", "rsa"],
)
def test_keys_that_flower_does_not_take(tmp_path: Path, server: Path, line: bytes, kind: str) -> None:
    path = tmp_path / "ann.pub"
    path.write_bytes(line)
    expected = f"{path}: a key of the kind {kind}; must be on a NIST curve (ecdsa-sha2-nistp384)"
    assert refused(server, path) == expected


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1()])
def test_other_curves_and_comments_are_taken(tmp_path: Path, server: Path, curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve).public_key()
    (tmp_path / "ann.pub").write_bytes(as_line(key) + b" ann@example.org\r\n")
    register(given_keys(server, [tmp_path / "ann.pub"]))
    assert (server / "nodes" / "ann.pub").read_bytes() == as_line(key)


def test_every_node_has_a_key_and_a_name_of_its_own(tmp_path: Path, server: Path) -> None:
    bob, other, ann = (
        tmp_path / "bob's" / "nodes" / "bob.pub",
        tmp_path / "x" / "bob.pub",
        tmp_path / "ann.pub",
    )
    shutil.copy(bob, ann)
    place = server / "nodes" / "bob.pub"
    assert refused(server, ann) == f"{ann}: the same key as {place}; every node needs a key of its own"
    make_client_key(tmp_path / "new", "bob")
    shutil.move(tmp_path / "new" / "nodes", tmp_path / "x")
    assert refused(server, other) == (
        f"{other}: node bob has another key ({place}); a new key takes a new name, or delete that file"
    )
    # The same among those that are given together, and among those that were put there by hand.
    empty = tmp_path / "empty"
    assert refused(empty, bob, ann) == (
        f"{ann}: the same key as {empty / 'nodes' / 'bob.pub'}; every node needs a key of its own"
    )
    assert refused(empty, bob, other).startswith(f"{other}: node bob has another key (")
    copy = server / "nodes" / "zoe.pub"
    shutil.copy(bob, copy)
    with pytest.raises(
        HashfedError, match=f"{copy}: the same key as {place}; every node needs a key of its own"
    ):
        registered_keys(server)


def test_names_and_places_that_are_none(tmp_path: Path, server: Path) -> None:
    key = (tmp_path / "bob's" / "nodes" / "bob.pub").read_bytes()
    (tmp_path / "ann.txt").write_bytes(key)
    assert refused(server, tmp_path / "ann.txt") == (
        f"{tmp_path}/ann.txt: must be named NAME.pub, where NAME is the node's"
    )
    (tmp_path / "a b.pub").write_bytes(key)
    assert refused(server, tmp_path / "a b.pub").startswith(
        f"{tmp_path}/a b.pub: the name 'a b': must be letters, digits"
    )
    (tmp_path / "none").mkdir()
    assert refused(server, tmp_path / "none") == f"{tmp_path}/none: no public key (*.pub) in this folder"
    (tmp_path / "none" / "ann.pub").mkdir()
    assert refused(server, tmp_path / "none") == f"{tmp_path}/none/ann.pub: not a file"
    os.mkfifo(tmp_path / "pipe.pub")
    assert refused(server, tmp_path / "pipe.pub") == f"{tmp_path}/pipe.pub: not a file"
    (tmp_path / "lost.pub").symlink_to("nowhere")
    assert refused(server, tmp_path / "lost.pub") == (
        f"{tmp_path}/lost.pub: cannot be read (No such file or directory)"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_key_that_is_not_readable(tmp_path: Path, server: Path) -> None:
    path = make_client_key(tmp_path, "ann")[1]
    path.chmod(0)
    assert refused(server, path) == f"{path}: cannot be read (Permission denied)"


def test_a_mistake_among_many_registers_none(tmp_path: Path, server: Path) -> None:
    inbox = make_client_key(tmp_path / "inbox", "ann")[1].parent
    (inbox / "zoe.pub").write_bytes(b"hello")
    assert refused(server, inbox).startswith(f"{inbox}/zoe.pub: not a public key")


def test_a_superlink_looks_at_its_keys_before_it_starts(server: Path) -> None:
    for name in ("ca.crt", "server.pem", "server.key"):
        (server / name).touch()
    SuperLink(secure=server)
    (server / "nodes" / "ann.pub").write_bytes(b"hello")
    with pytest.raises(HashfedError, match=re.escape(f"{server}/nodes/ann.pub: not a public key")):
        SuperLink(secure=server)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
def test_the_fingerprint_is_that_of_ssh(tmp_path: Path) -> None:
    path = make_client_key(tmp_path, "ann")[1]
    done = subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True)
    assert fingerprint(read_public_key(path)) == done.stdout.split()[1]


def test_where_one_cannot_be_written_there_is_no_half_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusual(folder: Path, node: str) -> list[tuple[Path, bytes, int]]:
        private, (public, line, mode) = pair(folder, node)
        return [private, (public.with_name("x" * 300), line, mode)]

    pair = keys.key_files
    monkeypatch.setattr(keys, "key_files", unusual)
    with pytest.raises(HashfedError, match=r"cannot be written \(File name too long\)"):
        make_client_key(tmp_path, "ann")
    assert contents(tmp_path) == {}
