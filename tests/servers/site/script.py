"""A view whose calls the test chooses: ``?ops=[["wait", 1], ["send", "x"]]``."""

from __future__ import annotations

import contextlib
import json
import select
import threading
import time
from typing import Any

from django.http import HttpRequest

from .report import Report


def poll(ws: Any, seconds: float = 20) -> bool:
    """Wait, as old code does, until the socket has something to read."""
    readable, _, _ = select.select([ws.protocol.sock.fileno()], [], [], seconds)
    return bool(readable)


def drain(ws: Any) -> list[Any]:
    """Iterate to the end and return every item."""
    return list(ws)


def send_until_closed(ws: Any, limit: int = 2000) -> bool:
    """Send, and read nothing, until ``is_closed()``; what old chat loops do."""
    pause = threading.Event()
    for _ in range(limit):
        ws.send("are you there?")
        if ws.is_closed():
            return True
        pause.wait(0.01)
    return False


def wait_in_thread(ws: Any) -> list[Any]:
    """Wait in another thread, close from this one, return what the waiter got."""
    got: list[Any] = []
    started = threading.Event()

    def waiter() -> None:
        started.set()
        try:
            got.append(ws.wait())
        except Exception as error:
            got.append(repr(error))

    thread = threading.Thread(target=waiter)
    thread.start()
    started.wait()
    # The thread says that it goes into wait(), not that it is in: give it a moment.
    thread.join(0.2)
    ws.close()
    thread.join(10)
    return got or ["still waiting"]


def two_waiters(ws: Any) -> list[str]:
    """Wait in two threads for the one end; return what each met."""
    got: list[str] = []

    def waiter() -> None:
        try:
            got.append(repr(ws.wait()))
        except Exception as error:
            got.append(
                "EOFError" if isinstance(error, EOFError) else type(error).__name__
            )

    threads = [threading.Thread(target=waiter) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return sorted(got)


def spin(ws: Any, count: int) -> list[float]:
    """Ask again and again, as a loop that overlooks the end; return the durations."""
    durations = []
    for _ in range(count):
        start = time.monotonic()
        with contextlib.suppress(Exception):  # the very mistake that is tested
            ws.wait()
        durations.append(time.monotonic() - start)
    return durations


def close_in_thread(ws: Any) -> bool:
    """Close from another thread, twice."""
    for _ in range(2):
        thread = threading.Thread(target=ws.close)
        thread.start()
        thread.join(10)
    return bool(ws.is_closed())


def close_with(ws: Any, code: int, reason: str) -> None:
    """Close with a reason in bytes."""
    ws.close(code, reason.encode())


def timed_wait(ws: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """Return what wait() gave, and whether it took as long as it was told."""
    start = time.monotonic()
    message = ws.wait(*args, **kwargs)
    return [message, time.monotonic() - start]


def send_bytes(ws: Any, text: str, kind: str = "bytes") -> Any:
    """Send the bytes that ``text`` stands for in Latin-1."""
    data = text.encode("latin-1")
    return ws.send(
        {"bytes": bytes, "bytearray": bytearray, "view": memoryview}[kind](data)
    )


def attribute(ws: Any, name: str) -> Any:
    """Return an attribute's value."""
    return getattr(ws, name)


def iterate_once(ws: Any) -> Any:
    """Return the first item of an iteration, or "stopped"."""
    for item in ws:
        return [item]
    return "stopped"


EXTRA = {
    "attribute": attribute,
    "close_in_thread": close_in_thread,
    "close_with": close_with,
    "drain": drain,
    "iterate_once": iterate_once,
    "poll": poll,
    "protocol_close": lambda ws: ws.protocol.close(),
    "send_bytes": send_bytes,
    "send_until_closed": send_until_closed,
    "spin": spin,
    "timed_wait": timed_wait,
    "two_waiters": two_waiters,
    "wait_in_thread": wait_in_thread,
}


def run(request: HttpRequest) -> None:
    """Make the calls one after the other; report each outcome under its number."""
    report = Report(request)
    ws: Any = request.websocket  # type: ignore[attr-defined]
    for number, (name, *args) in enumerate(json.loads(request.GET["ops"])):
        if name == "send_value":
            report.outcome(f"{number} {name}", ws.send, *args)
            continue
        kwargs = args.pop() if args and isinstance(args[-1], dict) else {}
        if name in EXTRA:
            report.outcome(f"{number} {name}", EXTRA[name], ws, *args, **kwargs)
        else:
            report.outcome(f"{number} {name}", getattr(ws, name), *args, **kwargs)
    report("end")
