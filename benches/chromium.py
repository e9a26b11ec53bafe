"""A headless Chromium that is talked to over a pipe (the Chrome DevTools Protocol)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
_TICKS = os.sysconf("SC_CLK_TCK")


class ProtocolError(Exception):
    """Chromium has not done what it was told."""


class Chromium:
    """A browser; use it in a ``with`` block.

    Args:
        program: The path of Chromium.
    """

    def __init__(self, program: str) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs, ours = os.pipe(), os.pipe()

        def arrange() -> None:
            # Chromium reads from descriptor 3, and writes to descriptor 4.
            os.dup2(theirs[0], 3)
            os.dup2(ours[1], 4)

        command = [program, *OPTIONS, f"--user-data-dir={self._profile.name}"]
        self.process = subprocess.Popen(
            command,
            preexec_fn=arrange,
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs[0])
        os.close(ours[1])
        self._to = os.fdopen(theirs[1], "wb", buffering=0)
        self._from = os.fdopen(ours[0], "rb")
        self._numbers = itertools.count(1)
        self._rest = b""

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._send("Browser.close")  # which it may not answer
        self.process.wait(20)
        self._to.close()
        self._from.close()
        self._profile.cleanup()

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        number = self._send(method, session, **params)
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise ProtocolError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _send(self, method: str, session: str = "", **params: Any) -> int:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._to.write(json.dumps(message).encode() + b"\0")
        return number

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._from.fileno(), 65_536)
            if not part:
                raise SystemExit("Chromium has ended")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def tab(self, url: str) -> Tab:
        """Open a page in a tab of its own, that has the focus."""
        target = self.call("Target.createTarget", url=url)["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        return Tab(self, attached["sessionId"])

    def renderers(self) -> set[int]:
        """Return the processes that pages run in."""
        info = self.call("SystemInfo.getProcessInfo")["processInfo"]
        return {one["id"] for one in info if one["type"] == "renderer"}


class Tab:
    """One page."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        browser.call("Performance.enable", session)

    def run(self, script: str) -> Any:
        """Return the value of an expression; None while there is no page."""
        options = {"expression": script, "returnByValue": True}
        try:
            found = self._browser.call("Runtime.evaluate", self._session, **options)
        except ProtocolError:
            return None
        return found["result"].get("value")

    def metrics(self) -> dict[str, float]:
        """Return Chromium's figures of the page, after a collection of garbage."""
        self._browser.call("HeapProfiler.collectGarbage", self._session)
        found = self._browser.call("Performance.getMetrics", self._session)["metrics"]
        return {one["name"]: one["value"] for one in found}


def cpu(pid: int) -> float:
    """Return the processor time of a process with all its threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> dict[str, float]:
    """Return a process's memory in MiB: resident, and what no other process shares."""
    found = {"rss": 0.0, "private": 0.0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Rss":
            found["rss"] += int(value.split()[0]) / 1024
        elif name in ("Private_Clean", "Private_Dirty"):
            found["private"] += int(value.split()[0]) / 1024
    return found
