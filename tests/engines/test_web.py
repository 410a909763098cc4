"""Web servers as they should not be."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import Mock

import pytest

from hashfed.engines import slice_store, web
from hashfed.engines.background import begin
from hashfed.engines.slice_store import CachedSource, WebSource
from hashfed.errors import HashfedError
from hashfed.federated.slices import Wanted, address_of

DATA = b"a slice"
WANTED = Wanted(address_of(DATA), len(DATA))

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """The end of the test; before that no slow server ends."""
    found = threading.Event()
    yield found
    found.set()


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[str]:
    """The URL of one that answers like this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A client that has had enough hangs up.
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def whole(handler: BaseHTTPRequestHandler, data: bytes = DATA) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(data)


def drip(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    """A byte now and then, never silent for long."""
    handler.send_response(200)
    handler.end_headers()
    while not over.wait(0.05):
        handler.wfile.write(b"a")


def drip_header(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
    while not over.wait(0.05):
        handler.wfile.write(b"X: y\r\n")


def hush(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    over.wait()


def test_a_file_that_is_there() -> None:
    with server(whole) as url:
        assert WebSource(url).get(WANTED) == DATA
        # Never more than was asked for.
        assert web.fetch(url, 3) == b"a s"
    with server(lambda handler: whole(handler, b"x" * 300_000)) as url:
        assert web.fetch(url, 300_001) == b"x" * 300_000
        with pytest.raises(HashfedError, match=r"8 bytes came: must be 7"):
            CachedSource(WebSource(url)).get(WANTED)


@pytest.mark.parametrize("answer", [drip, drip_header, hush])
def test_a_server_that_takes_for_ever(
    answer: Callable[[BaseHTTPRequestHandler, threading.Event], None],
    over: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "SECONDS", 0.4)
    with server(lambda handler: answer(handler, over)) as url:
        with pytest.raises(HashfedError, match=r"^http://127.*: cannot be fetched \(silent for 0\.4 s, or "):
            web.fetch(url, 1000)
        over.set()


def test_a_long_file_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[float] = []

    def patient(read: Callable[[], bytes]) -> Mock:
        """However long it takes here, it is in time where so many seconds are allowed."""
        begun = begin(read)

        def result(seconds: float) -> bytes:
            allowed.append(seconds)
            return begun.result()

        return Mock(result=result)

    monkeypatch.setattr(web, "SPEED", 10)
    monkeypatch.setattr(web, "begin", patient)
    with server(lambda handler: whole(handler, b"a" * 12)) as url:
        assert web.fetch(url, 13) == b"a" * 12
    assert allowed == [web.SECONDS + 1.3]


def test_slices_have_a_limit_all_together(over: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Mock()
    monkeypatch.setattr(slice_store, "time", clock)
    with server(lambda handler: drip(handler, over)) as url:
        source = WebSource(url, 0.3)
        clock.monotonic.return_value = source._opened
        with pytest.raises(HashfedError, match=r"not all of it there within 0\.\d+ s\)$"):
            source.get(Wanted(WANTED.address, 1000))
        clock.monotonic.return_value += 0.4
        with pytest.raises(HashfedError, match=r"not fetched: the slices took longer than 0\.3 s"):
            source.get(WANTED)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(code: int) -> None:
    asked: list[str] = []

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        handler.send_response(code)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    with server(redirect) as url, pytest.raises(HashfedError) as found:
        WebSource(url).get(WANTED)
    assert len(asked) == 1
    assert f"redirects to '{url}/elsewhere': redirects are not followed; flower.slices_url " in str(
        found.value
    )


def test_errors_are_one_line() -> None:
    def refuse(handler: BaseHTTPRequestHandler) -> None:
        handler.send_error(403)

    with server(refuse) as url, pytest.raises(HashfedError, match=r"cannot be fetched \(HTTP Error 403: "):
        web.fetch(url, 1)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(HashfedError, match=r"cannot be fetched \(\[Errno 111\] Connection refused\)$"):
            web.fetch(url, 1)
    with pytest.raises(HashfedError, match="cannot be fetched"):
        web.fetch("http://[broken", 1)


def test_a_server_on_this_machine_is_asked_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with server(lambda handler: asked.append(handler.path)) as proxy, server(whole) as url:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert web.fetch(f"{url}/x", 100) == DATA
    assert asked == []
