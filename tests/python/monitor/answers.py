"""Answers as the engine gives them."""

from __future__ import annotations

import json
from typing import Any

from dwebsocket import _engine


def counters(**changed: Any) -> dict[str, Any]:
    """Return counters that are all 0 but for some."""
    made: dict[str, Any] = {
        "opened": 0,
        "closed": {},
        "refused": {},
        "received_messages": 0,
        "received_bytes": 0,
        "sent_messages": 0,
        "sent_bytes": 0,
        "dropped": {"close": 0, "drop_oldest": 0, "drop_newest": 0, "block": 0},
        "view_errors": 0,
        "lost": 0,
        "round_trips": {"bounds": [0.1, None], "counts": [1, 2], "nanoseconds": 3e9},
    }
    return made | changed


def place(name: str, processes: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    """Return what a directory says."""
    return {
        "place": f"{name}:1:2",
        "machine": name,
        "processes": processes,
        "counters": counters(**changed),
    }


def process(name: str, connections: int = 0) -> dict[str, Any]:
    """Return a process of a directory."""
    return {
        "process": name,
        "pid": 7,
        "started": 100,
        "stopping": False,
        "connections": connections,
        "socket": f"/nowhere/{name}.socket",
    }


def answer(name: str, **changed: Any) -> dict[str, Any]:
    """Return the answer of a process to the question for figures."""
    made = {
        "process": name,
        "pid": 7,
        "host": "here",
        "started": 100,
        "stopping": False,
        "connections": 0,
        "outbox_messages": 0,
        "outbox_bytes": 0,
        "inbox_messages": 0,
        "inbox_bytes": 0,
        "broker": "none",
        "counters": counters(),
    }
    return made | changed


def own() -> dict[str, Any]:
    """Return this process's own answer."""
    found: dict[str, Any] = json.loads(_engine.monitor_answer('{"kind": "figures"}'))
    return found
