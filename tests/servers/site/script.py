"""A view whose calls the test chooses: ``?ops=[["wait", 1], ["send", "x"]]``."""

from __future__ import annotations

import json
import select
import threading
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


def send_bytes(ws: Any, text: str, kind: str = "bytes") -> Any:
    """Send the bytes that ``text`` stands for in Latin-1."""
    data = text.encode("latin-1")
    return ws.send(
        {"bytes": bytes, "bytearray": bytearray, "view": memoryview}[kind](data)
    )


def send_value(ws: Any, value: Any) -> Any:
    """Send a value that JSON can express: a number, a list, a dict, ..."""
    return ws.send(value)


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
    "drain": drain,
    "iterate_once": iterate_once,
    "poll": poll,
    "send_bytes": send_bytes,
    "send_value": send_value,
    "send_until_closed": send_until_closed,
    "wait_in_thread": wait_in_thread,
}


def run(request: HttpRequest) -> None:
    """Make the calls one after the other; report each outcome under its number."""
    report = Report(request)
    ws: Any = request.websocket  # type: ignore[attr-defined]
    for number, (name, *args) in enumerate(json.loads(request.GET["ops"])):
        if name in EXTRA:
            report.outcome(f"{number} {name}", EXTRA[name], ws, *args)
        else:
            kwargs = args.pop() if args and isinstance(args[-1], dict) else {}
            report.outcome(f"{number} {name}", getattr(ws, name), *args, **kwargs)
    report("end")
