"""Raw ASGI, without a framework, under three servers."""

from __future__ import annotations

from .base import BACKLOG, CONNECTIONS, PythonPeer
from .commands import gunicorn, uvicorn

UVICORN = PythonPeer(
    name="asgi-uvicorn",
    title="raw ASGI, uvicorn",
    group="python",
    packages=["uvicorn[standard]"],
    words=uvicorn("asgi_app:application"),
)
# Keepalive: none. "--backpressure" limits the open WebSockets, too.
GRANIAN = PythonPeer(
    name="asgi-granian",
    title="raw ASGI, granian",
    group="python",
    packages=["granian[uvloop]"],
    words=["-m", "granian", "asgi_app:application", "--interface", "asgi", "--ws"]
    + ["--port", "{port}", "--workers", "1", "--loop", "uvloop", "--log-level"]
    + ["warning", "--no-access-log", "--backlog", str(BACKLOG)]
    + ["--backpressure", str(CONNECTIONS), "--workers-kill-timeout", "2"],
)
# gunicorn's own worker for ASGI, which takes uvloop. Keepalive: none.
GUNICORN = PythonPeer(
    name="asgi-gunicorn",
    title="raw ASGI, gunicorn",
    group="python",
    packages=["gunicorn", "uvloop"],
    words=gunicorn("asgi_app:application", "asgi", "--asgi-loop", "uvloop"),
)
