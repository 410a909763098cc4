"""The page of ``hashfed keyboard`` and what it asks, over HTTP on this machine alone.

GET / and the page's other parts; GET /runs, JSON: names and facts of the runs; POST /suggest with
``{"run": name, "text": what is typed so far}``, JSON: what ``keyboard.suggestions`` has. Anything else
gets an error of one line. What is typed is neither kept nor logged.

Any page that this machine's browser visits could ask too. So a request must be for this address (``Host``: a
name that somebody points at 127.0.0.1 is refused), from this page (``Origin``), and of a type of content that
browsers let no other page send.
"""

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, cast

from hashfed.errors import HashfedError, one_line
from hashfed.keyboard.predict import word_settings
from hashfed.keyboard.suggestions import Keyboard
from hashfed.report.html import HERE as REPORT
from hashfed.report.page import percent_of_rows
from hashfed.report.results import is_finished, read_result, unique_names
from hashfed.runs.folder import RunFolder

ADDRESS = "127.0.0.1"
LONGEST_TEXT = 1000
"""Characters: more than any model reads."""
LARGEST_BODY = 16_384
"""Bytes of a question, in which each character may be an escape."""
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HERE = Path(__file__).parent
PARTS = {
    "/": (HERE / "keyboard.html", "text/html; charset=utf-8"),
    "/keyboard.css": (HERE / "keyboard.css", "text/css; charset=utf-8"),
    "/keyboard.js": (HERE / "keyboard.js", "text/javascript; charset=utf-8"),
    "/style.css": (REPORT / "style.css.j2", "text/css; charset=utf-8"),
}
"""The page: file and type by path. No other file is ever read."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HERE = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
"""Any port: a tunnel from another machine may have its own. A name resolved elsewhere stays out."""


@dataclass(frozen=True)
class Column:
    """A run on the page.

    Attributes:
        name: unique among the columns.
        facts: of its training, each with its name.
        keyboard: its suggestions.

    """

    name: str
    facts: list[tuple[str, str]]
    keyboard: Keyboard


def read_columns(runs: Sequence[RunFolder]) -> list[Column]:
    """Read the models of runs.

    Raises:
        HashfedError: where a folder is no run with a checkpoint, is damaged or given twice, or its training
            has diverged.

    """
    for place, run in enumerate(runs):
        if run.path.resolve() in (other.path.resolve() for other in runs[:place]):
            raise HashfedError(f"{run.path}: given twice; one run is enough, or two different ones")
    names = unique_names([run.path for run in runs])
    return [Column(name, run_facts(run), Keyboard(run)) for name, run in zip(names, runs, strict=True)]


def run_facts(run: RunFolder) -> list[tuple[str, str]]:
    """What a run has cost and achieved, as far as it is known.

    Raises:
        HashfedError: where the folder is no run, or a file of it is damaged.

    """
    data, config, lines = word_settings(run), run.config(), run.lines("metrics.jsonl")
    if is_finished(run.read_json("summary.json"), lines):
        result = read_result(run)
        known = [
            ("Rows on a client", percent_of_rows(result.share)),
            ("Accuracy", f"{result.evaluation['accuracy']:.2%}"),
        ]
    else:
        known = [("Not finished", f"{len(lines):,} of {config.rounds:,} rounds")]
    return [*known, ("Words", f"{data.vocabulary:,}")]


class KeyboardServer(ThreadingHTTPServer):
    """Serves the page of some runs until it is shut down."""

    daemon_threads = True

    def __init__(self, columns: Sequence[Column], port: int = 0) -> None:
        """Listen at ``port`` of ``ADDRESS``, 0 for any that is free.

        Raises:
            HashfedError: where that port cannot be had.

        """
        self.columns = {column.name: column for column in columns}
        self.parts = {path: (file.read_bytes(), kind) for path, (file, kind) in PARTS.items()}
        self._one = threading.Lock()
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise HashfedError(f"--port = {port}: {error.strerror or error}") from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """Without the base class's question to the name service who 127.0.0.1 is."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that leave; a bug is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def runs(self) -> dict[str, Any]:
        """The answer to ``/runs``."""
        return {"runs": [{"name": one.name, "facts": one.facts} for one in self.columns.values()]}

    def suggest(self, name: str, text: str) -> dict[str, Any]:
        """The answer to ``/suggest``; one at a time, so that its time is one core's.

        Raises:
            RefusedError: where no run has this name.
            HashfedError: where its model gives no probabilities.

        """
        if name not in self.columns:
            raise RefusedError(HTTPStatus.NOT_FOUND, "run: no run of this page has this name")
        with self._one:
            start = time.perf_counter()
            found = self.columns[name].keyboard.suggest(text)
            seconds = time.perf_counter() - start
        return {
            "words": [{"word": word, "probability": share} for word, share in found.words],
            "read": [{"word": word, "known": known} for word, known in found.read],
            "begun": found.begun,
            "units": found.units,
            "milliseconds": 1000 * seconds,
        }


class RefusedError(Exception):
    """A request that is not answered.

    Attributes:
        status: of the response.
        reason: one line.

    """

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(status, reason)
        self.status, self.reason = status, reason


class _Handler(BaseHTTPRequestHandler):
    """A connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "hashfed", ""
    timeout = 60
    """Seconds that a connection may rest, or a request take to arrive."""
    # A response leaves in one piece and at once: else some of it waits for the browser's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """A part of the page."""
        self._respond(self._read_part)

    def do_POST(self) -> None:
        """A question of the page."""
        self._respond(self._answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are what somebody types."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As one line, for what the base class refuses by itself."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(status, f"{status.phrase}\n".encode(), TEXT)

    def _respond(self, act: Callable[[], tuple[bytes, str]]) -> None:
        try:
            check_caller(self.headers.get_all("Host", []), self.headers.get_all("Origin", []))
            status, (content, kind) = HTTPStatus.OK, act()
        except RefusedError as error:
            status, content, kind = error.status, f"{error.reason}\n".encode(), TEXT
        except HashfedError as error:
            status, content, kind = HTTPStatus.INTERNAL_SERVER_ERROR, f"{one_line(error)}\n".encode(), TEXT
        if status != HTTPStatus.OK:
            self.close_connection = True  # there may be a rest of the request that nobody reads
        self._send(status, content, kind)

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _read_part(self) -> tuple[bytes, str]:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "GET: without a body only")
        server = cast(KeyboardServer, self.server)
        if self.path == "/runs":
            return json.dumps(server.runs()).encode(), JSON
        if self.path not in server.parts:
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such page")
        return server.parts[self.path]

    def _answer(self) -> tuple[bytes, str]:
        if self.path != "/suggest":
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such page")
        if self.headers.get_content_type() != JSON:
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: must be {JSON}")
        length = body_length(
            self.headers.get_all("Content-Length", []), self.headers.get("Transfer-Encoding")
        )
        name, text = read_question(self.rfile.read(length))
        return json.dumps(cast(KeyboardServer, self.server).suggest(name, text)).encode(), JSON


def check_caller(hosts: Sequence[str], origins: Sequence[str]) -> None:
    """Refuse who has not come for this page; the arguments are the headers' values.

    Raises:
        RefusedError: naming the header.

    """
    if len(hosts) != 1 or not _HERE.fullmatch(hosts[0]):
        raise RefusedError(HTTPStatus.FORBIDDEN, f"Host: must be {ADDRESS} or localhost, with a port")
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
        raise RefusedError(HTTPStatus.FORBIDDEN, "Origin: only the page itself may ask")


def body_length(lengths: Sequence[str], encoding: str | None) -> int:
    """The bytes of a request's body, from its headers ``Content-Length`` and ``Transfer-Encoding``.

    Raises:
        RefusedError: where they do not say it, or more than ``LARGEST_BODY``.

    """
    if encoding is not None or not lengths:
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length: missing")
    if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length: must be a number of bytes")
    if int(lengths[0]) > LARGEST_BODY:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Content-Length: must be at most {LARGEST_BODY:,} bytes"
        )
    return int(lengths[0])


def read_question(body: bytes) -> tuple[str, str]:
    """The name of the run and the text of a question to ``/suggest``.

    Raises:
        RefusedError: where it is none, naming the field.

    """
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "body: must be JSON in UTF-8") from None
    if not isinstance(found, dict) or set(found) != {"run", "text"}:
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, "body: must be an object with run and text, and nothing else"
        )
    for field, value in found.items():
        if not isinstance(value, str):
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{field}: must be a string")
    if len(found["text"]) > LONGEST_TEXT:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"text: must have at most {LONGEST_TEXT:,} characters"
        )
    return found["run"], found["text"]
