"""Command lines that several peers share."""

from __future__ import annotations

from .base import BACKLOG, CONNECTIONS


def gunicorn(application: str, kind: str, *more: str) -> list[str]:
    """Return the interpreter's command line for one worker of a kind.

    gunicorn writes no access log unless it is told to. The time that it waits for open
    connections at the end matters to no figure.
    """
    words = ["-m", "gunicorn", application, "--worker-class", kind, "--workers", "1"]
    words += ["--bind", "127.0.0.1:{port}", "--backlog", str(BACKLOG)]
    words += ["--worker-connections", str(CONNECTIONS), "--log-level", "warning"]
    return [*words, "--graceful-timeout", "1", "--no-control-socket", *more]


def uvicorn(application: str) -> list[str]:
    """Return the interpreter's command line for uvicorn.

    Its protocol is the default, ``websockets`` without I/O, and so is its keepalive, a
    ping every 20 seconds.
    """
    words = ["-m", "uvicorn", application, "--port", "{port}", "--loop", "uvloop"]
    words += ["--http", "httptools", "--ws-per-message-deflate", "false"]
    words += ["--backlog", str(BACKLOG), "--log-level", "warning", "--no-access-log"]
    return [*words, "--timeout-graceful-shutdown", "1"]
