import socket
from collections.abc import Iterator

import pytest

from hashfed.engines import web
from hashfed.engines.proxies import hide_password, is_loopback, never_proxied, proxy_of, through
from hashfed.errors import HashfedError

VARIABLES = [f"{name}_proxy" for name in ("http", "https", "all", "no", "grpc")]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of a port on this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_hosts_of_this_machine() -> None:
    for host in ("localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"):
        assert is_loopback(host)
    for host in ("example.org", "localhost.example.org", "10.0.0.1", "::2", ""):
        assert not is_loopback(host)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_variable_is_named_and_its_password_hidden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://ann:secret@proxy:3128")
    assert proxy_of("http://example.org:8000/x") == (name, "http://ann:secret@proxy:3128")
    assert through("http://example.org") == f", through the proxy {name} = http://ann:***@proxy:3128"
    for url in ("http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000", "http://127.0.0.2"):
        assert through(url) == ""
    monkeypatch.setenv("NO_PROXY", "example.org,10.0.0.1")
    assert through("http://example.org:8000") == through("http://10.0.0.1:8000/") == ""
    assert through("http://example.com") != ""


def test_a_proxy_of_another_protocol_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy")
    assert proxy_of("http://example.org") is None
    assert proxy_of("https://example.org") == ("https_proxy", "http://proxy")


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("http://a:b@c:1", "http://a:***@c:1"),
        ("http://a:b@d@c:1", "http://a:***@c:1"),
        ("a:b@c", "a:***@c"),
        ("http://a@c", "http://a@c"),
        ("socks5://c:1", "socks5://c:1"),
        ("c:1", "c:1"),
    ],
)
def test_passwords(proxy: str, shown: str) -> None:
    assert hide_password(proxy) == shown


def test_what_children_are_told() -> None:
    here = "localhost,127.0.0.1,::1"
    assert never_proxied({}) == {"no_proxy": here, "NO_PROXY": here}
    # Brackets are a mistake to httpx.
    assert never_proxied({"NO_PROXY": " a.org , [::1]"}, "127.0.0.2")["no_proxy"] == (
        "a.org,::1,localhost,127.0.0.1,127.0.0.2"
    )
    assert never_proxied({"NO_PROXY": "a.org"}, "*")["NO_PROXY"] == "*"
    assert never_proxied({"no_proxy": "*", "NO_PROXY": "a"})["NO_PROXY"] == "*"


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
def test_a_slice_through_a_proxy_that_is_not_there(
    name: str, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"http://ann:secret@{nobody}")
    with pytest.raises(HashfedError) as found:
        web.fetch("http://slices.example/x", 10)
    line = str(found.value)
    assert line.startswith("http://slices.example/x: cannot be fetched (")
    assert line.endswith(f", through the proxy {name} = http://ann:***@{nobody}")
