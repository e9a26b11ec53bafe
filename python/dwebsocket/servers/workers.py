"""The number of processes that the server runs."""

from __future__ import annotations

import os
import sys

__all__ = ("workers",)

#: Servers that take the number with the same option.
_NAMES = ("gunicorn", "uvicorn", "hypercorn", "granian")


def workers() -> int:
    """Return how many worker processes the server runs; 1 if this is not known."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None:
        return int(getattr(uwsgi, "numproc", 1))
    words = sys.argv if any(name in sys.argv[0] for name in _NAMES) else []
    words = [*words, *os.environ.get("GUNICORN_CMD_ARGS", "").split()]
    for place, word in enumerate(words, 1):
        name, _, value = word.partition("=")
        if word.startswith("-w"):
            # Also without a space: -w4.
            name, value = "-w", word[2:].removeprefix("=")
        if name in ("-w", "--workers"):
            value = value or "".join(words[place : place + 1])
            return int(value) if value.isdigit() else 1
    value = os.environ.get("WEB_CONCURRENCY", "")
    return int(value) if value.isdigit() else 1
