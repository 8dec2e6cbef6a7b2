"""A headless Chromium that a test controls through its debugging protocol, without further packages."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.waiting import wait_until

VARIABLE = "HEADRACE_CHROMIUM"
STOP_LIMIT_S = 60.0
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "ArrowDown": (40, ""), "ArrowUp": (38, "")}


def chromium() -> str | None:
    """The browser's program, if this machine has one."""
    return os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page. The browser reads commands from its descriptor 3 and writes to 4, each ended by a NUL."""

    def __init__(self, program: str, profile: Path) -> None:
        self._numbers = itertools.count(1)
        their_in, self._out = os.pipe()
        self._in, their_out = os.pipe()
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        arguments += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=1200,900", "about:blank"]
        script = f'exec "$0" "$@" 3<&{their_in} 4>&{their_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, program, *arguments], pass_fds=(their_in, their_out), stderr=subprocess.DEVNULL
        )
        os.close(their_in)
        os.close(their_out)
        self._buffer = b""
        self._session: str | None = None
        self.console: list[str] = []

    def __enter__(self) -> Browser:
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._send(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        self._send("Browser.close")
        try:
            self._process.wait(STOP_LIMIT_S)
        finally:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)
        os.close(self._in)
        os.close(self._out)

    def open(self, url: str) -> None:
        self._send("Page.navigate", url=url)

    def show_as(self, width: int, height: int, scale: float = 1.0, scheme: str = "dark") -> None:
        """Set the size of the page in CSS pixels, and what else differs from machine to machine."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self._send("Emulation.setDeviceMetricsOverride", **size)
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._send("Emulation.setTimezoneOverride", timezoneId="UTC")
        self._send("Emulation.setLocaleOverride", locale="en-GB")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression. Raises AssertionError if it throws."""
        answer = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str = "body") -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait_for_text(self, text: str, selector: str = "body") -> None:
        wait_until(lambda: text in self.text(selector), f"{text!r} in {selector}", poll_s=0.1)

    def wait_until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        wait_until(lambda: self.evaluate(condition), condition, poll_s=0.1)

    def prefer(self, color_scheme: str) -> None:
        """Let the system prefer a color scheme: light or dark."""
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": color_scheme}])

    def type(self, text: str) -> None:
        self._send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        code, text = KEYS[key]
        shared = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **shared)
        self._send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def save_picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self._send("Page.captureScreenshot")["data"]))

    def _send(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            if message.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.console.append(json.dumps(message["params"])[:500])

    def _receive(self) -> Any:
        while b"\0" not in self._buffer:
            chunk = os.read(self._in, 1 << 20)
            assert chunk, "the browser ended"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
