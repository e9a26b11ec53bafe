"""The way to the sockets of servers; tests/servers/test_asgi.py has the real ones."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from dwebsocket.asgi.reaching import Reached, reach


class Transport:
    """A transport that notes what is done to it."""

    def __init__(self, sock: socket.socket, tls: bool = False) -> None:
        self.extra = {"socket": sock, "sslcontext": object() if tls else None}
        self.calls: list[str] = []
        self.closing = False
        self.unsent = 0

    def get_extra_info(self, name: str) -> Any:
        return self.extra.get(name)

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unsent


def owner(module: str, **attributes: Any) -> Any:
    """Return an object of a server's module, with a method ``send``."""

    async def send(self: Any, event: Any) -> None:
        pass

    kind = type("Owner", (), {"send": send, "__module__": module})
    made = kind()
    vars(made).update(attributes)
    return made


SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl"
WSPROTO = "uvicorn.protocols.websockets.wsproto_impl"
LEGACY = "uvicorn.protocols.websockets.websockets_impl"


def uvicorn(transport: Any) -> tuple[Any, Any]:
    buffer = bytearray()
    conn = SimpleNamespace(reader=SimpleNamespace(buffer=buffer))
    queue = SimpleNamespace(qsize=lambda: 0)
    return owner(SANSIO, transport=transport, conn=conn, queue=queue).send, buffer


def uvicorn_wsproto(transport: Any) -> tuple[Any, Any]:
    buffer = bytearray()
    h11 = SimpleNamespace(trailing_data=(buffer, False))
    conn = SimpleNamespace(handshake=SimpleNamespace(_h11_connection=h11))
    queue = SimpleNamespace(qsize=lambda: 0)
    return owner(WSPROTO, transport=transport, conn=conn, queue=queue).send, buffer


def uvicorn_legacy(transport: Any) -> tuple[Any, Any]:
    buffer = bytearray()
    reader = SimpleNamespace(_buffer=buffer)
    return owner(LEGACY, transport=transport, reader=reader).send, buffer


def gunicorn(transport: Any) -> tuple[Any, Any]:
    buffer = bytearray()
    made = owner("gunicorn.asgi.websocket", transport=transport, _buffer=buffer)
    return made.send, buffer


def hypercorn(transport: Any) -> tuple[Any, Any]:
    buffer = bytearray()
    server = owner(
        "hypercorn.asyncio.tcp_server",
        reader=SimpleNamespace(_buffer=buffer),
        writer=SimpleNamespace(transport=transport),
    )
    protocol = owner("hypercorn.protocol.h11")
    vars(protocol)["send"] = server.send
    stream = owner("hypercorn.protocol.ws_stream")
    app_send = type(stream).send.__get__(stream)
    vars(stream)["send"] = type(protocol).send.__get__(protocol)
    return app_send, buffer


SERVERS = [uvicorn, uvicorn_wsproto, uvicorn_legacy, gunicorn, hypercorn]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


@pytest.mark.parametrize("make", SERVERS, ids=lambda make: make.__name__)
def test_a_socket_that_nobody_has_touched_is_given(make: Any):
    async def test() -> None:
        one, other = socket.socketpair()
        with one, other:
            transport = Transport(one)
            send, buffer = make(transport)
            reached = reach(send)
            assert isinstance(reached, Reached)
            # Before anything else: the server takes no frame meanwhile.
            assert transport.calls == ["pause"]
            found = reached.socket()
            assert found is not None
            assert (found.fd, found.sock) == (one.fileno(), one)
            # asyncio has no registration left behind.
            assert found.epoll_fd is None
            transport.unsent = 1
            assert reached.socket() is None
            transport.unsent = 0
            transport.closing = True
            assert reached.socket() is None
            transport.closing = False
            buffer.extend(b"early")
            assert reached.socket() is None
            buffer.clear()
            assert reached.socket() is not None
            reached.resume()
            assert transport.calls == ["pause", "resume"]
            one.close()
            assert reached.socket() is None

    run(test())


def test_messages_that_have_come_early_stay_with_the_server():
    async def test() -> None:
        one, other = socket.socketpair()
        with one, other:
            send, _ = uvicorn(Transport(one))
            reached = reach(send)
            assert reached is not None
            send.__self__.queue.qsize = lambda: 1
            assert reached.socket() is None
            # Another release of the server keeps them elsewhere.
            del send.__self__.queue
            assert reached.socket() is None

    run(test())


def test_what_cannot_be_taken_is_left_alone():
    async def send(event: Any) -> None:
        pass

    async def test() -> None:
        one, other = socket.socketpair()
        with one, other:
            tls = Transport(one, tls=True)
            assert reach(uvicorn(tls)[0]) is None
            assert tls.calls == []
            assert reach(send) is None
            nameless = owner("granian.asgi", transport=Transport(one)).send
            assert reach(nameless) is None
            moved = owner("gunicorn.asgi.websocket").send
            assert reach(moved) is None
            bare = Transport(one)
            del bare.extra["socket"]
            assert reach(gunicorn(bare)[0]) is None
            assert bare.calls == []
            # A stream of HTTP/2.
            stream = owner("hypercorn.protocol.ws_stream")
            app_send = type(stream).send.__get__(stream)
            protocol = owner("hypercorn.protocol.h2")
            server = owner("hypercorn.asyncio.tcp_server", writer=bare, reader=bare)
            vars(protocol)["send"] = server.send
            vars(stream)["send"] = type(protocol).send.__get__(protocol)
            assert reach(app_send) is None
            assert bare.calls == []

    run(test())


def test_the_epoll_instance_of_libuv_is_named(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "_get_backend_id", lambda: 77, raising=False)
        one, other = socket.socketpair()
        with one, other:
            reached = reach(gunicorn(Transport(one))[0])
            assert reached is not None
            found = reached.socket()
            assert found is not None
            assert found.epoll_fd == 77

    run(test())
