"""Headless Chromium for tests, told what to do through its DevTools protocol.

``python tests/browser.py PAGE OUT.png [--width 390] [--dark]`` takes a screenshot.
"""

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """A browser with one page; a context manager that ends it.

    Attributes:
        requests: Addresses that the page asked for, itself included.
        said: What it wrote to the console, errors included.
    """

    def __init__(self) -> None:
        assert CHROMIUM is not None
        self.requests: list[str] = []
        self.said: list[str] = []
        self._number = 0
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # Chromium reads from descriptor 3 and writes to 4.
        theirs, self._in = os.pipe()
        self._out, theirs_too = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs, theirs_too)]
        self._process = subprocess.Popen(
            [
                *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--remote-debugging-pipe", "--hide-scrollbars", "--no-first-run"),
                f"--user-data-dir={self._profile.name}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4, *ends),
            preexec_fn=lambda: [os.dup2(end, 3 + i) for i, end in enumerate(ends)],  # noqa: PLW1509
        )
        for end in (theirs, theirs_too, *ends):
            os.close(end)
        self._reader = os.fdopen(self._out, "rb")
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "result" in answer, f"{method}: {answer}"
                return dict(answer["result"])

    def open(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Loads a file as a window of that width shows it."""
        self.requests.clear()
        self.said.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, out: Path) -> None:
        """Writes the whole page as a PNG file."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        out.write_bytes(b64decode(taken["data"]))

    def _read(self) -> dict[str, Any]:
        message = bytearray()
        while (byte := self._reader.read(1)) != b"\0":
            assert byte, "Chromium ended"
            message += byte
        answer = dict(json.loads(message))
        if answer.get("method") == "Network.requestWillBeSent":
            self.requests.append(answer["params"]["request"]["url"])
        if answer.get("method") == "Log.entryAdded":
            self.said.append(answer["params"]["entry"]["text"])
        return answer

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._in)
        self._reader.close()
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    with Browser() as browser:
        browser.open(options.page, options.width, dark=options.dark)
        browser.screenshot(options.out)


if __name__ == "__main__":
    main()
