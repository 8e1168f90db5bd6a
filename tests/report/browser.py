"""A real browser for tests: Chromium, started once, spoken to by its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
SETTINGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-pipe"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
ONTO_3_AND_4 = """
import fcntl, os, sys
for number, pipe in zip((3, 4), [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
PATIENCE = 90.0  # seconds, on a machine that is busy


class Browser:
    """One page of a browser; what it complains of is in ``complaints``."""

    def __init__(self, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        own = [CHROMIUM, *SETTINGS, f"--user-data-dir={profile}", "about:blank"]
        command = [sys.executable, "-c", ONTO_3_AND_4, str(theirs_in), str(theirs_out), *own]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), **quiet)
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out, self._rest, self._count, self._session = ours_in, ours_out, b"", 0, None
        self.complaints: list[str] = []
        self.loaded = False
        pages = self.ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in pages if target["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setFocusEmulationEnabled", enabled=True)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are taken note of."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
        raise AssertionError(f"the browser went away at {method}")

    def run(self, script: str) -> Any:
        """Return what an expression is worth in the page; a promise is waited for."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        found = self.ask("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def open(
        self,
        page: Path,
        *,
        width: int = 1300,
        height: int = 900,
        dark: bool = False,
        hash: str = "",
        scripts: bool = True,
    ) -> None:
        """Open a page and wait until it has drawn its charts."""
        self.complaints.clear()
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.ask("Page.navigate", url="about:blank")
        self.resize(width, height, dark)
        self.loaded = False
        self.ask("Page.navigate", url=f"{page.as_uri()}{hash}")
        for _ in self._until(lambda: self.loaded):
            self.ask("Runtime.getIsolateId")
        if scripts:
            self.drawn()

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        for _ in self._until(lambda: self.run(script)):
            time.sleep(0.02)

    def drawn(self, times: int = 1) -> None:
        """Wait until the page has drawn its charts so often."""
        script = (
            "Number(document.documentElement.dataset.drawn || 0) + 1000 * !document.getElementById('errors').hidden"
        )
        self.until(f"{script} >= {times}")

    def resize(self, width: int, height: int = 900, dark: bool = False, media: str = "") -> None:
        """Make the window so large, in a light or dark scheme, or as it is printed."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=scheme)

    def point(self, x: float, y: float) -> None:
        """Move the pointer there."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"Tab": 9}.get(key, 0)
            )

    def picture(self, path: Path) -> None:
        """Write what is seen of the whole page as PNG."""
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError):
            os.close(self._out)
            os.close(self._in)
        self.process.terminate()
        self.process.wait(20)

    def _until(self, ready: Any) -> Iterator[None]:
        end = time.monotonic() + PATIENCE
        while not ready():
            assert time.monotonic() < end, f"the page did not finish: {self.complaints}"
            yield

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            *whole, self._rest = self._rest.split(b"\0")
            for position, text in enumerate(whole):
                message = json.loads(text)
                self._note(message)
                if "id" in message:
                    self._rest = b"\0".join([*whole[position + 1 :], self._rest])
                    yield message
                    break
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            assert ready, "the browser does not answer"
            more = os.read(self._in, 1 << 20)
            if not more:
                return
            self._rest += more

    def _note(self, message: dict[str, Any]) -> None:
        method, given = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self.loaded = True
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(given["exceptionDetails"].get("exception", given["exceptionDetails"])))
        if method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(one.get("value", one.get("description"))) for one in given["args"]))
        if method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.complaints.append(given["entry"]["text"])
