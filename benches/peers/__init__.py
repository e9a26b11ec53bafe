"""The servers that the benchmarks compare, by name, in the order of the report."""

from __future__ import annotations

from . import asgi, channels, project, rust
from .base import CONNECTIONS, Peer, PeerError, PythonPeer, Running
from .commands import gunicorn

__all__ = ["PEERS", "Peer", "PeerError", "Running"]

BARE_LOOP = PythonPeer(
    name="bare-loop",
    title="bare Python loop",
    group="python",
    threads=True,
    packages=(),
    words=["bare_loop.py", "{port}"],
)

# Keepalive: off, the default. Every connection occupies a thread of gunicorn's.
FLASK_SOCK = PythonPeer(
    name="flask-sock",
    title="Flask-Sock, gthread",
    group="python",
    threads=True,
    packages=["Flask", "flask-sock", "gunicorn"],
    words=gunicorn("flask_app:app", "gthread", "--threads", str(CONNECTIONS)),
)
WEBSOCKETS = PythonPeer(
    name="websockets",
    title="websockets",
    group="python",
    packages=["websockets", "uvloop"],
    words=["websockets_server.py", "{port}"],
)
PICOWS = PythonPeer(
    name="picows",
    title="picows",
    group="python",
    packages=["picows", "uvloop"],
    words=["picows_server.py", "{port}"],
    hello=False,
)
# Its own event loop, in C++ on libuv: on Debian, the library is in the package libuv1.
SOCKETIFY = PythonPeer(
    name="socketify",
    title="socketify",
    group="python",
    packages=["socketify"],
    words=["socketify_server.py", "{port}"],
    library="libuv.so.1",
)

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        project.OURS,
        project.OURS_GEVENT,
        project.OURS_ASYNC,
        project.OURS_CLASS,
        project.OURS_UVICORN,
        project.OURS_UVICORN_ASYNC,
        project.OURS_UVICORN_QUEUE,
        project.OURS_UVICORN_QUEUE_ASYNC,
        project.OURS_CHANNELS,
        project.OLD,
        BARE_LOOP,
        channels.UVICORN,
        channels.DAPHNE,
        channels.REDIS,
        asgi.UVICORN,
        asgi.GRANIAN,
        asgi.GUNICORN,
        WEBSOCKETS,
        FLASK_SOCK,
        PICOWS,
        SOCKETIFY,
        rust.FASTWEBSOCKETS,
        rust.TOKIO_WEBSOCKETS,
        rust.TUNGSTENITE,
        rust.YAWC,
        rust.ENGINE,
    )
}
