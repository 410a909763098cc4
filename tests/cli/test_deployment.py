"""``hashfed certificates``, ``serve`` and ``join``, with a trivial app in place of the real one."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hashfed.cli.main import main
from hashfed.cli.serve import warnings
from hashfed.config import Config, make_config

pytest.importorskip("flwr")

from hashfed.deploy import app_folder
from hashfed.deploy.certificates import make_certificates
from hashfed.deploy.control import NotThere, check_health
from hashfed.deploy.processes import SuperLink, SuperNode, free_port
from hashfed.errors import HashfedError
from small import PATIENCE
from small_flower import write_trivial_app

PATCHED = """\
import sys
from hashfed.cli.main import main
from hashfed.deploy import app_folder
from small import PATIENCE
from small_flower import write_trivial_app
app_folder.write_app = write_trivial_app
sys.exit(main(sys.argv[1:]))
"""


SHARE = ["--partition", "0", "--partitions", "1"]
"""Of the data; the trivial app looks at none."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of two nodes, and of a third that is never registered."""
    folder = tmp_path_factory.mktemp("certificates") / "secure"
    make_certificates(folder, nodes=["ann", "bob", "eve"])
    (folder / "nodes" / "eve.pub").unlink()
    return folder


@pytest.fixture(scope="module")
def superlink(secure: Path) -> Iterator[SuperLink]:
    with SuperLink(secure=secure) as running:
        yield running


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, and the last line of standard error."""
    try:
        code: Any = main(arguments)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, (err.splitlines() or [""])[-1]


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code, out, line = run(capsys, *arguments)
    assert (code, out) == (2, "")
    return line.removeprefix("hashfed: ")


@contextlib.contextmanager
def started(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command as a process, with the trivial app."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", PATCHED, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """Its output up to the line with ``text``."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"ended without {text!r}: {read}")


def interrupt(process: "subprocess.Popen[str]") -> str:
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=PATIENCE)[0]


def test_a_run_over_tls_with_two_registered_nodes(
    secure: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_folder, "write_app", write_trivial_app)
    # No connection within this machine asks a proxy: nobody connects to this one.
    proxy = socket.create_server(("127.0.0.1", 0))
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        for variable in (name, name.upper()):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.getsockname()[1]}")
    Path("ann's texts").mkdir()
    address = f"127.0.0.1:{free_port()}"
    keys = ["--secure", str(secure), "--node"]
    ann = ["join", address, *keys, "ann", "--texts", "ann's texts", "--client", "Ann B."]
    bob = ["join", address, *keys, "bob", "--partition", "1", "--partitions", "2", "--source", "chitchat"]
    begin = time.monotonic()
    with started(*ann) as one, started(*bob) as two:
        options = ["--address", address, "--secure", str(secure), "--nodes", "2", "--output", "out"]
        code, out, line = run(capsys, "serve", *options)
        assert code == 0, out + line
        assert line.endswith(f" completed; run folder: {Path('out').absolute()}")
        texts = str(Path("ann's texts").absolute())
        assert f"node {sorted({'texts': texts, 'client': 'Ann B.'}.items())}" in out
        assert "node [('num-partitions', 2), ('partition-id', 1), ('source', 'chitchat')]" in out
        with pytest.raises(NotThere):
            check_health(address, secure)
        said = interrupt(one)
        assert f"joined {address} as node " in said
        assert one.returncode == 130
        two.send_signal(signal.SIGTERM)
        two.communicate(timeout=PATIENCE)
        assert two.returncode == 143
    proxy.setblocking(False)
    with proxy, pytest.raises(BlockingIOError):
        proxy.accept()
    assert time.monotonic() - begin < PATIENCE


def test_certificates_tell_what_is_for_whom(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "certificates", "made", "--host", "example.org", "--nodes", "1") == (
        0,
        "made/ca.key  keep secret; not needed to run anything\n"
        "made/ca.crt, server.pem, server.key, nodes/*.pub  the SuperLink: hashfed serve --secure DIR\n"
        "made/ca.crt, nodes/node-0  this node: hashfed join HOST:PORT --secure DIR --node node-0\n"
        "For trying on one machine: these private keys were made here. On other machines let each client\n"
        "make its own, hashfed certificates DIR --client NAME, and register the public one with\n"
        "--public-key. A running SuperLink learns of further nodes when it is started again.\n",
        "",
    )
    code, out, _ = run(capsys, "certificates", "made", "--nodes", "1")
    assert code == 0
    assert out.startswith("made/ca.crt, nodes/node-1  this node: ")
    assert mistake(capsys, "certificates", "made") == "made/ca.crt: exists and is not overwritten"
    line = mistake(capsys, "certificates", "made", "--node", "node-1")
    assert line == "made/nodes/node-1: exists and is not overwritten"
    assert mistake(capsys, "certificates", "x", "--nodes", "0") == "--nodes = 0: must be from 1 to 10000"


def test_a_client_makes_its_key_and_the_server_gets_the_public_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "certificates", "ann's", "--client", "ann")
    private, public, shown, then = out.splitlines()
    assert code == 0
    assert private == "ann's/nodes/ann  this node's private key; it stays on this machine"
    assert public == (
        "ann's/nodes/ann.pub  for who runs the server: hashfed certificates DIR --public-key ann.pub"
    )
    assert then == "With the server's ca.crt in ann's: hashfed join HOST:PORT --secure ann's --node ann"
    given = ["certificates", "certs", "--public-key", "ann's/nodes/ann.pub"]
    code, out, _ = run(capsys, *given, "--host", "example.org")
    assert code == 0
    assert out.splitlines()[:3] == [
        "certs/ca.key  keep secret; not needed to run anything",
        "certs/ca.crt, server.pem, server.key, nodes/*.pub  the SuperLink: hashfed serve --secure DIR",
        f"certs/nodes/ann.pub  {shown.split()[0]}",
    ]
    assert run(capsys, *given) == (0, "certs/nodes  has all of these keys already\n", "")
    assert [path.name for path in Path("certs/nodes").iterdir()] == ["ann.pub"]
    assert mistake(capsys, *given, "--days", "9") == "certs/ca.crt: exists and is not overwritten"
    code, out, _ = run(capsys, "serve", "--secure", "certs", "--show-commands")
    assert f"flwr supernode register {Path('certs').absolute()}/nodes/ann.pub hashfed" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--client", "ann", "--host", "x"], "--host: not with --client"),
        (["--client", "ann", "--days", "3"], "--days: not with --client"),
        (["--client", "ann", "--node", "bob"], "--node: not with --client"),
        (["--client", "ann", "--public-key", "x"], "--public-key: not with --client"),
        (["--nodes", "3", "--public-key", "x"], "--nodes: not with --public-key"),
        (["--nodes", "3", "--node", "bob"], "--node: not with --nodes"),
        (
            ["--client", "a/b"],
            "--client 'a/b': must be letters, digits, '.', '_' and '-', and not end in .pub",
        ),
        (["--public-key", "none.pub"], "none.pub: cannot be read (No such file or directory)"),
    ],
)
def test_wrong_options_of_certificates(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mistake(capsys, "certificates", "x", *arguments) == expected
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["127.0.0.1"], "HOST:PORT = 127.0.0.1: must be HOST:PORT, such as 127.0.0.1:8000"),
        (["http://x:1"], "HOST:PORT = http://x:1: must be HOST:PORT, such as 127.0.0.1:8000"),
        (["::1:8000"], "HOST:PORT = ::1:8000: must be HOST:PORT, such as 127.0.0.1:8000"),
        (["a:1", "--texts", "none"], "--texts = none: no such file or folder"),
        (["a:1", *SHARE, "--source", "none"], "--source = none: no such file or folder"),
        (["a:1", "--client", "ann"], "--client = ann: needs --texts"),
        (["a:1", "--source", "."], "whose data? give --texts FOLDER --client NAME, or --partition I "),
        (["a:1", *SHARE, "--node", "ann"], "--node = ann: needs --secure DIR, the folder with its key"),
        (["a:1", "--partition", "1"], "--partition and --partitions: only together, such as "),
        (
            ["a:1", "--partition", "4", "--partitions", "4"],
            "--partition = 4: must be from 0 to --partitions - 1 = 3",
        ),
        (["a:1", "--texts", ".", "--source", "."], "--texts = .: instead of --partition and --source"),
        (["a:1", *SHARE, "--wait", "-1"], "--wait = -1: must be from 0 to 86400"),
        (["a:1", *SHARE, "--state", "/dev/null/x"], "--state = /dev/null/x: /dev/null is no folder"),
        (
            ["a:1", *SHARE, "--slices", "http://ann@b/c?d"],
            "--slices = http://ann@b/c?d: a URL must have no ?, # and @",
        ),
        (["a:1", *SHARE, "--slices", "none"], "--slices = none: no such file or folder"),
        (
            ["a:1", *SHARE, "--least-clients", "2"],
            "--least-clients = 2: must be an integer from 3 to 16384",
        ),
    ],
)
def test_wrong_options_of_join(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mistake(capsys, "join", *arguments).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--address", "8000"], "--address = 8000: must be HOST:PORT, such as 127.0.0.1:8000"),
        (["--address", "a:70000"], "--address = a:70000: must be HOST:PORT, such as 127.0.0.1:8000"),
        (["--nodes", "0"], "--nodes = 0: must be at least 1"),
        (["--rounds", "0"], "rounds = 0: "),
        (["none.yaml"], "none.yaml: No such file or directory"),
    ],
)
def test_wrong_options_of_serve(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mistake(capsys, "serve", *arguments).startswith(expected)


def test_what_is_said_to_who_serves_other_machines() -> None:
    found = warnings(Config(), "0.0.0.0", secure=False)
    assert [line.split(",")[0] for line in found] == ["without --secure", "without server.clip"]
    sliced = make_config(
        {"selection": {"delivery": "pre-generated"}, "retrieval": {"method": "simhash-union"}}
    )
    assert [line.split(",")[0] for line in warnings(sliced, "192.0.2.7", secure=True)] == [
        "without server.clip",
        "without flower.slices_url",
    ]
    safe = make_config(
        {
            "selection": {"delivery": "pre-generated"},
            "retrieval": {"method": "simhash-union"},
            "server": {"clip": 1},
            "flower": {"slices_url": "https://example.org/slices"},
        }
    )
    assert warnings(safe, "::", secure=True) == []
    assert warnings(Config(), "127.0.0.1", secure=False) == []
    names = ["ann", "bob", "eve", "zoe"]
    assert warnings(safe, "::", secure=True, private_keys=names) == [
        "private keys of 4 nodes (ann, bob, eve, ...) are on this machine, which could join as they; let "
        "clients make their own (hashfed certificates DIR --client NAME)"
    ]
    assert warnings(safe, "::1", secure=True, private_keys=names) == []


def test_a_key_that_no_superlink_takes(capsys: pytest.CaptureFixture[str]) -> None:
    make_certificates(Path("certs"), nodes=["ann"])
    Path("certs/nodes/bob.pub").write_bytes(Path("certs/nodes/ann").read_bytes())
    assert mistake(capsys, "serve", "--secure", "certs") == (
        f"{Path('certs').absolute()}/nodes/bob.pub: a private key, which only its owner may have; ask for "
        "the public one (NAME.pub) of a new pair"
    )


def test_more_nodes_than_keys(capsys: pytest.CaptureFixture[str], secure: Path) -> None:
    assert mistake(capsys, "serve", "--secure", str(secure), "--nodes", "3") == (
        f"--nodes = 3: {secure}/nodes has 2 keys (*.pub); "
        f"register those of clients with hashfed certificates {secure} --public-key PATH"
    )


def test_certificates_that_are_not_there(capsys: pytest.CaptureFixture[str], secure: Path) -> None:
    expected = f"{Path('none').absolute()}/ca.crt: no such file; hashfed certificates makes it"
    assert mistake(capsys, "serve", "--secure", "none") == expected
    line = mistake(capsys, "join", "a:1", *SHARE, "--secure", "none")
    assert line == f"{expected} on the server; copy it from there"
    line = mistake(capsys, "join", "a:1", *SHARE, "--secure", str(secure), "--node", "zoe")
    assert line == f"{secure}/nodes/zoe: no such file; hashfed certificates {secure} --client zoe makes it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_is_not_readable(capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked").mkdir(mode=0)
    assert (
        mistake(capsys, "join", "a:1", "--texts", "locked") == "--texts = locked: not readable by this user"
    )


@pytest.mark.parametrize(("command", "more"), [("serve", []), ("join", ["a:1"]), ("certificates", ["x"])])
def test_without_flower(
    command: str, more: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    line = mistake(capsys, command, *more)
    assert line == f"hashfed {command} needs hashfed[flower] (pip install 'hashfed[flower]')"


def test_help_does_not_import_flower() -> None:
    code = "import sys; sys.modules['flwr'] = sys.modules['cryptography'] = sys.modules['tomli_w'] = None\n"
    code += "from hashfed.cli.main import main; main(['--help'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "certificates" in done.stdout


def test_the_commands_of_flower(capsys: pytest.CaptureFixture[str], secure: Path) -> None:
    options = ["--secure", str(secure), "--address", "0.0.0.0:8123", "--rounds", "7", "--show-commands"]
    code, out, _ = run(capsys, "serve", *options)
    assert code == 0
    for text in (
        "hashfed-superlink --host 0.0.0.0 --port 8123 --ssl-certfile ",
        'address = "127.0.0.1:8123"',
        f"flwr supernode register {secure}/nodes/bob.pub hashfed",
        "flwr run hashfed-app hashfed --stream",
        "rounds = 7",
        f'output = "{Path.cwd()}/runs/chitchat-query-centroids-10%-seed0"',
    ):
        assert text in out
    Path("a b").mkdir()
    options = [
        "--texts",
        "a b",
        "--client",
        "Ann",
        "--state",
        "kept/here",
        "--slices",
        "http://s",
        "--least-clients",
        "20",
        "--show-commands",
    ]
    code, out, _ = run(capsys, "join", "server:8123", *options)
    assert code == 0
    said = f"""texts="{Path.cwd()}/a b" client="Ann" state="{Path.cwd()}/kept/here" slices="http://s" """
    assert f"--insecure --node-config '{said}least-clients=20'" in out
    assert sorted(path.name for path in Path().iterdir()) == ["a b"]


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    line = mistake(capsys, "join", address, *SHARE, "--wait", "1")
    assert line == f"{address}: no SuperLink answers (Connection refused), for 1 s"


def test_nobody_there_through_a_proxy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = f"127.0.0.1:{free_port()}"
    for name in ("HTTP_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://ann:secret@{proxy}")
    line = mistake(capsys, "join", "server.example:8000", *SHARE, "--wait", "0")
    assert line == (
        "server.example:8000: no SuperLink answers (Connection refused), through the proxy http_proxy = "
        f"http://ann:***@{proxy}, for 0 s"
    )


@pytest.mark.slow
def test_a_port_in_use(superlink: SuperLink, capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(capsys, "serve", "--address", superlink.address)
    assert line == (
        f"--address = {superlink.address}: the port is in use; choose another, or end what listens there"
    )


@pytest.mark.slow
def test_a_host_that_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(capsys, "serve", "--address", "192.0.2.1:8000")
    assert line.startswith("hashfed-superlink ended with exit code 1: ")
    assert "192.0.2.1" in line


@pytest.mark.slow
def test_a_wrong_authority(superlink: SuperLink, capsys: pytest.CaptureFixture[str]) -> None:
    make_certificates(Path("other"), nodes=["ann"])
    line = mistake(capsys, "join", superlink.address, *SHARE, "--secure", "other", "--node", "ann")
    assert line == (
        f"{superlink.address}: its certificate is not by the authority {Path('other').absolute()}/ca.crt "
        "(unable to get local issuer certificate)"
    )


@pytest.mark.slow
def test_a_certificate_for_another_host(
    superlink: SuperLink, secure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.2:{superlink.port}"
    with SuperLink(host="0.0.0.0", secure=secure) as everywhere:
        address = f"127.0.0.2:{everywhere.port}"
        line = mistake(capsys, "join", address, *SHARE, "--secure", str(secure), "--node", "ann")
    assert line.startswith(f"{address}: its certificate is not for this host (")
    assert line.endswith("; make certificates with hashfed certificates --host 127.0.0.2")


@pytest.mark.slow
def test_a_key_that_is_not_registered(
    superlink: SuperLink, secure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--secure", str(secure), "--node", "eve", "--wait", "6"]
    line = mistake(capsys, "join", superlink.address, *SHARE, *options)
    assert line == (
        f"{superlink.address}: refused this node for 6 s ([code: 2004] Failed to activate SuperNode.): "
        "the key nodes/eve.pub is not registered there, or another SuperNode runs with it"
    )


@pytest.mark.slow
def test_a_node_without_a_key(superlink: SuperLink, secure: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(capsys, "join", superlink.address, *SHARE, "--secure", str(secure))
    assert line.startswith(
        f"{superlink.address}: takes only nodes with a key; join with --secure DIR --node NAME ([code: 2001] "
    )


@pytest.mark.slow
def test_a_file_that_is_no_key(
    superlink: SuperLink, secure: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = secure / "nodes" / "broken"
    key.write_text("x")
    line = mistake(capsys, "join", superlink.address, *SHARE, "--secure", str(secure), "--node", "broken")
    assert line == f"{key}: no private key of a node (Unable to parse the private key file.)"


@pytest.mark.slow
def test_tls_on_one_side_only(superlink: SuperLink, secure: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = mistake(capsys, "join", superlink.address, *SHARE, "--wait", "1")
    assert line == (
        f"{superlink.address}: hangs up; where it uses TLS, join with --secure DIR --node NAME, for 1 s"
    )
    with SuperLink() as plain:
        line = mistake(capsys, "join", plain.address, *SHARE, "--secure", str(secure), "--node", "ann")
    assert line == f"{plain.address}: does not use TLS; leave --secure out, or start it with --secure"


@pytest.mark.slow
def test_nodes_join_with_keys_that_the_server_never_had(capsys: pytest.CaptureFixture[str]) -> None:
    """One of a pair that hashfed made, one of another curve that somebody had."""
    assert run(capsys, "certificates", "own", "--client", "ann")[0] == 0
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-N", "", "-f", "own/nodes/bob"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    assert run(capsys, "certificates", "certs", "--public-key", "own/nodes")[0] == 0
    assert sorted(path.name for path in Path("certs/nodes").iterdir()) == ["ann.pub", "bob.pub"]
    own = Path("own").absolute()
    (own / "ca.crt").write_bytes(Path("certs/ca.crt").read_bytes())
    with (
        SuperLink(secure=Path("certs").absolute()) as link,
        SuperNode(link.address, secure=own, node="ann") as ann,
        SuperNode(link.address, secure=own, node="bob") as bob,
    ):
        ann.wait_until_joined()
        bob.wait_until_joined()
        link.wait_for_nodes(2)


@pytest.mark.slow
def test_a_run_that_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_folder, "write_app", write_trivial_app)
    address = f"127.0.0.1:{free_port()}"
    with started("join", address, *SHARE):
        code, out, line = run(capsys, "serve", "--address", address, "--rounds", "13")
    assert code == 2
    assert "Traceback" in out
    assert line.startswith("hashfed: run ")
    assert line.endswith(" failed: ValueError: no thirteenth round")


@pytest.mark.slow
def test_ctrl_c_stops_the_run_and_the_node_stays_for_the_next() -> None:
    address = f"127.0.0.1:{free_port()}"
    with started("join", address, *SHARE) as node:
        with started("serve", "--address", address, "--rounds", "99") as server:
            read_until(server, "sleeping")
            said = interrupt(server)
            assert server.returncode == 130
            assert "stopping run " in said
            assert said.endswith("hashfed: stopped; what was saved is kept\n")
        with pytest.raises(NotThere):
            check_health(address)
        with started("serve", "--address", address) as server:
            said = read_until(server, " completed; ")
            assert server.wait(PATIENCE) == 0
        said = interrupt(node)
        assert "joining again" in said
        assert said.count(f"joined {address} as node ") == 2


@pytest.mark.slow
def test_a_node_whose_power_was_cut_joins_again_with_its_key(superlink: SuperLink, secure: Path) -> None:
    with SuperNode(superlink.address, secure=secure, node="ann") as node:
        node.wait_until_joined()
        node.kill()
        begin = time.monotonic()
        with started("join", superlink.address, *SHARE, "--secure", str(secure), "--node", "ann") as process:
            said = read_until(process, "joined ")
        assert (
            "refused with [code: 2004]: the key is not registered there, or the heartbeat of its last" in said
        )
        assert time.monotonic() - begin < PATIENCE


@pytest.mark.slow
def test_a_command_that_is_killed_leaves_nothing_behind() -> None:
    address = f"127.0.0.1:{free_port()}"
    with started("serve", "--address", address) as server, started("join", address, *SHARE) as node:
        read_until(server, "1 of 1 node(s) online")
        node.kill()
        server.kill()
        for _ in range(10 * PATIENCE):
            with contextlib.suppress(HashfedError):
                check_health(address)
                time.sleep(0.1)
                continue
            break
        with pytest.raises(NotThere):
            check_health(address)


@pytest.mark.slow
def test_over_ipv6() -> None:
    try:
        address = f"[::1]:{free_port('::1')}"
    except HashfedError:
        pytest.skip("no IPv6 here")
    with started("serve", "--address", address) as server, started("join", address, *SHARE):
        read_until(server, "1 of 1 node(s) online")
        read_until(server, " completed; ")
