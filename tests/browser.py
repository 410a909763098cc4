"""A page in headless Chromium, driven by keys and looked at, over Chromium's DevTools protocol."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from small import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
KEYS = {
    "ArrowDown": 40,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "ArrowUp": 38,
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
}
TEXTS = {"Enter": "\r"}


class Browser:
    """One page."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._numbers = connection, itertools.count(1)
        self._session: dict[str, str] = {}
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": session["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """The result; exceptions and messages of the page that come meanwhile are its complaints."""
        number = next(self._numbers)
        question = {"id": number, "method": method, "params": params, **self._session}
        self._connection.send(json.dumps(question))
        while True:
            found = json.loads(self._connection.recv(timeout=PATIENCE))
            if found.get("id") == number:
                assert "error" not in found, (method, found)
                return found["result"]
            if found["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                self.complaints.append(json.dumps(found["params"]))

    def value(self, script: str) -> Any:
        """Of an expression, or of its promise."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait for an expression to become true."""
        end = time.monotonic() + PATIENCE
        while not self.value(f"Boolean({script})"):
            assert time.monotonic() < end, script
            time.sleep(0.01)

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self.call("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def press(self, *keys: str) -> None:
        """Press keys of ``KEYS``, or characters."""
        for key in keys:
            code = KEYS.get(key, ord(key.upper()) if key.isalnum() and len(key) == 1 else 0)
            text = TEXTS.get(key, key if len(key) == 1 else "")
            about = {"key": key, "text": text, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", **about)
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def look(self, path: Path, width: int, height: int, dark: bool, scale: float = 1) -> None:
        """Write a picture (PNG) of the top of the page, on a screen of this size."""
        self.screen(width, height, dark, scale)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def screen(self, width: int, height: int, dark: bool, scale: float = 1) -> None:
        """Show the page on a screen of so many CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser that keeps its profile in ``folder``; the test is skipped where there is none."""
    client = pytest.importorskip("websockets.sync.client")
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(NAMES)} on the PATH")
    options = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run"]
    options += ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--lang=en"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium's own cannot be had by root
    with subprocess.Popen(
        [program, *options], stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        try:
            lines: list[str] = []
            for line in process.stderr:
                lines.append(line)
                if line.startswith("DevTools listening on "):
                    break
            else:
                pytest.fail(f"{program} ended: {''.join(lines)}")
            address = line.split()[-1]
            with client.connect(address, max_size=None, proxy=None) as connection:
                page = Browser(connection)
                yield page
                page._session = {}
                page.call("Browser.close")
        except BaseException:
            process.kill()
            raise
