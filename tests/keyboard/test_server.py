"""The keyboard page over HTTP."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import torch

from browser import browser
from hashfed import HashfedError, RunFolder, train
from hashfed.keyboard.server import LARGEST_BODY, LONGEST_TEXT, KeyboardServer, read_columns, run_facts
from hashfed.runs.predict import likeliest
from small import PATIENCE, small_config

WORDS = (
    "[...document.querySelectorAll('.suggestions')].map("
    "row => [...row.querySelectorAll('.word')].map(word => word.textContent))"
)
"""Of JavaScript: the suggestions of each run that the page shows."""


@contextmanager
def served(*folders: Path) -> Iterator[KeyboardServer]:
    with KeyboardServer(read_columns([RunFolder(folder) for folder in folders])) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def other(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of fewer words than ``trained``, not finished: it was stopped, or its result is gone."""
    path = tmp_path_factory.mktemp("runs") / "other"
    train(small_config(texts, output=str(path), data={"vocabulary": 15}, rounds=2))
    (path / "summary.json").unlink()
    return path


@pytest.fixture(scope="module")
def server(trained: Path, other: Path) -> Iterator[KeyboardServer]:
    with served(trained, other) as found:
        yield found


def request(
    server: KeyboardServer, method: str, path: str, body: bytes | None = None, **headers: str | None
) -> tuple[HTTPResponse, bytes]:
    """Headers of the page's own requests, but for those given (None: without); with _ for -."""
    port = server.server_address[1]
    usual: dict[str, str | None] = {"Host": f"127.0.0.1:{port}"}
    if body is not None:
        usual |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.putrequest(method, path, skip_host=True)
    for name, value in (usual | {name.replace("_", "-"): value for name, value in headers.items()}).items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def suggest(server: KeyboardServer, text: Any, run: Any = "tiny") -> dict[str, Any]:
    response, content = request(server, "POST", "/suggest", json.dumps({"run": run, "text": text}).encode())
    assert response.status == 200
    found = json.loads(content)
    assert isinstance(found, dict)
    return found


def refused(answer: tuple[HTTPResponse, bytes]) -> tuple[int, str]:
    """Status and line."""
    response, content = answer
    assert response.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert response.getheader("Connection") == "close"
    line, rest = content.decode().split("\n")
    assert (bool(line), rest) == (True, "")
    return response.status, line


def test_it_suggests_what_predict_does(server: KeyboardServer, trained: Path, other: Path) -> None:
    for name, folder in (("tiny", trained), ("other", other)):
        found = suggest(server, "w1 w2 ", name)
        words = [(one["word"], one["probability"]) for one in found["words"]]
        assert words == likeliest(RunFolder(folder), ["w1 w2"], 3)[0]
        assert found["milliseconds"] > 0


def test_it_completes_what_is_begun(server: KeyboardServer) -> None:
    found = suggest(server, "unheard W1")
    assert all(one["word"].startswith("w1") for one in found["words"])
    assert (found["begun"], found["units"]) == ("w1", 2)
    assert found["read"] == [{"word": "unheard", "known": False}]
    assert suggest(server, "\ud83d")["units"] == 0


def test_the_page_needs_nothing_else(server: KeyboardServer) -> None:
    for path in ("/", "/keyboard.js", "/keyboard.css", "/style.css", "/runs"):
        response, content = request(server, "GET", path)
        assert response.status == 200
        assert b"http" not in content
        assert "default-src 'none'" in (response.getheader("Content-Security-Policy") or "")
        assert response.getheader("X-Content-Type-Options") == "nosniff"


def test_facts_of_runs(server: KeyboardServer, trained: Path) -> None:
    accuracy = RunFolder(trained).read_json("summary.json")["evaluation"]["accuracy"]
    finished, stopped = json.loads(request(server, "GET", "/runs")[1])["runs"]
    assert finished["name"] == "tiny"
    assert ["Accuracy", f"{accuracy:.2%}"] in finished["facts"]
    assert finished["facts"][0][0] == "Rows on a client"
    assert stopped == {"name": "other", "facts": [["Not finished", "2 of 2 rounds"], ["Words", "15"]]}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "evil.example@127.0.0.1"},
        {"Host": ""},
        {"Host": None},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/suggest")])
def test_strangers_are_refused(
    headers: dict[str, str | None], method: str, path: str, server: KeyboardServer
) -> None:
    body = b'{"run": "tiny", "text": ""}' if method == "POST" else None
    status, line = refused(request(server, method, path, body, **headers))
    assert status == 403
    assert line.startswith(next(iter(headers)))


def test_the_page_itself_may_ask_also_through_a_tunnel(server: KeyboardServer) -> None:
    body = b'{"run": "tiny", "text": ""}'
    for host in ("127.0.0.1:9", "localhost:9000", "LOCALHOST"):
        response, _ = request(server, "POST", "/suggest", body, Host=host, Origin=f"http://{host}")
        assert response.status == 200


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"", 400, "body: must be JSON"),
        (b"\xff", 400, "body: must be JSON"),
        (b"[" * 10_000, 400, "body: must be JSON"),
        (b"[]", 400, "body: must be an object with run and text"),
        (b'{"text": ""}', 400, "body: must be an object with run and text"),
        (b'{"run": "tiny", "text": "", "more": 1}', 400, "body: must be an object with run and text"),
        (b'{"run": "tiny", "text": 1}', 400, "text: must be a string"),
        (b'{"run": ["tiny"], "text": ""}', 400, "run: must be a string"),
        (b'{"run": "../tiny", "text": ""}', 404, "run: no run of this page"),
        (
            json.dumps({"run": "tiny", "text": "x" * (LONGEST_TEXT + 1)}).encode(),
            413,
            "text: must have at most",
        ),
    ],
)
def test_questions_that_are_none(body: bytes, status: int, line: str, server: KeyboardServer) -> None:
    found, told = refused(request(server, "POST", "/suggest", body))
    assert found == status
    assert told.startswith(line)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/suggest", {}, 404),
        ("GET", "/../keyboard_server.py", {}, 404),
        ("GET", "/keyboard_server.py", {}, 404),
        ("GET", "/", {"Content-Length": "1"}, 400),
        ("POST", "/", {"Content-Type": "application/json", "Content-Length": "0"}, 404),
        ("POST", "/suggest", {"Content-Type": "text/plain", "Content-Length": "0"}, 415),
        ("POST", "/suggest", {"Content-Length": "0"}, 415),
        ("POST", "/suggest", {"Content-Type": "application/json"}, 411),
        ("POST", "/suggest", {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}, 411),
        ("POST", "/suggest", {"Content-Type": "application/json", "Content-Length": "-1"}, 400),
        (
            "POST",
            "/suggest",
            {"Content-Type": "application/json", "Content-Length": str(LARGEST_BODY + 1)},
            413,
        ),
        ("DELETE", "/", {}, 501),
    ],
)
def test_requests_that_are_none(
    method: str, path: str, headers: dict[str, str | None], status: int, server: KeyboardServer
) -> None:
    assert refused(request(server, method, path, None, **headers))[0] == status


def test_nothing_is_logged(server: KeyboardServer, capfd: pytest.CaptureFixture[str]) -> None:
    suggest(server, "w1 secret")
    refused(request(server, "GET", "/secret"))
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=PATIENCE) as connection:
        connection.sendall(b"secret\r\n\r\n")
        assert connection.recv(1000) == b"Bad Request\n"
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_a_port_in_use(server: KeyboardServer) -> None:
    port = server.server_address[1]
    with pytest.raises(HashfedError, match=f"^--port = {port}: Address already in use$"):
        KeyboardServer([], port)


def test_only_this_machine_is_listened_to(server: KeyboardServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_run_given_twice(trained: Path) -> None:
    with pytest.raises(HashfedError, match="tiny: given twice"):
        read_columns([RunFolder(trained), RunFolder(trained / ".." / "tiny")])


def test_a_model_that_gives_no_probabilities(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = RunFolder(trained).parameters()
    parameters.rows.fill_(torch.inf)
    monkeypatch.setattr(RunFolder, "parameters", lambda run: parameters)
    with pytest.raises(
        HashfedError, match="tiny: its model gives no finite numbers; the training has diverged"
    ):
        read_columns([RunFolder(trained)])
    assert run_facts(RunFolder(trained))[0][0] == "Rows on a client"


def test_typing_and_choosing_by_keys_alone(server: KeyboardServer, tmp_path: Path) -> None:
    text = "document.getElementById('text').value"
    with browser(tmp_path) as page:

        def expect(typed: str) -> list[list[str]]:
            """The suggestions of both runs for a text, once the page shows them."""
            due = [
                [one["word"] for one in suggest(server, typed, name)["words"]] for name in ("tiny", "other")
            ]
            filled = [[*row, *["–"] * (3 - len(row))] for row in due]
            page.until(f"{text} === {json.dumps(typed)}")
            page.until(f"JSON.stringify({WORDS}) === JSON.stringify({json.dumps(filled)})")
            return filled

        page.open(server.url)
        expect("")
        page.press(*"unheard W1")
        first, second = expect("unheard W1")
        assert first != second
        page.until("document.querySelectorAll('.run mark').length === 2")

        page.press("ArrowDown", "ArrowRight", "Enter")
        chosen = f"unheard W{first[1].removeprefix('w')} "
        first, second = expect(chosen)
        page.press("Tab", "Tab", "Tab", "Tab", "Enter")
        chosen += second[0] + " "
        first, second = expect(chosen)

        page.press("ArrowDown", "ArrowDown", "ArrowRight")
        assert page.value("document.activeElement.textContent").startswith(second[1])
        page.press("ArrowUp")
        assert page.value("document.activeElement.textContent").startswith(first[1])
        page.press("ArrowUp", "ArrowDown", "Escape")
        assert page.value("document.activeElement.id") == "text"
        page.press("ArrowDown", *"xq")  # typing on leads back
        assert expect(chosen + "xq") == [["–"] * 3] * 2
        page.until("[...document.querySelectorAll('.read')].every(line => line.textContent.includes('“xq”'))")
        assert page.value("document.querySelectorAll('.suggestions button:enabled').length") == 0

        for width in (360, 1200):
            for dark in (False, True):
                page.screen(width, 800, dark)
                assert page.value("document.documentElement.scrollWidth") <= width
        assert page.complaints == []

        page.value("void (window.fetch = () => Promise.reject(Error()))")
        page.press("y")
        page.until("document.getElementById('trouble').textContent.includes('does not answer')")
        assert not page.value("document.getElementById('trouble').hidden")
