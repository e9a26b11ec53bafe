"""The client's end of a connection, which a test controls frame by frame."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from dwebsocket import _engine
from dwebsocket.backends.default.websocket import DefaultWebSocket

TIMEOUT = 10.0
#: Seconds without room after which an outbox counts as full.
FULL = 0.3


class Peer:
    """A client whose handshake is done, on a plain socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT)
        self.sock = sock
        self.protocol = ClientProtocol(parse_uri("ws://test/"), state=OPEN)
        self._frames: list[Frame] = []

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)

    def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        self._flush()

    def send_frame(self, opcode: Opcode, data: bytes, fin: bool = True) -> None:
        self.sock.sendall(Frame(opcode, data, fin).serialize(mask=True))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.protocol.send_close(code, reason)
        self._flush()

    def drop(self) -> None:
        """Close the socket without a Close frame."""
        self.sock.close()

    def reset(self) -> None:
        """Close the socket without a Close frame; on TCP, with a reset."""
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.sock.close()

    def frame(self) -> Frame:
        """Return the next frame from the server.

        Raises:
            EOFError: The server has ended the connection.
        """
        while not self._frames:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.protocol.receive_data(data)
            # Send the protocol's answers to pings and to a Close frame.
            self._flush()
            for event in self.protocol.events_received():
                assert isinstance(event, Frame)
                self._frames.append(event)
        return self._frames.pop(0)

    def message(self) -> str | bytes:
        """Return the next message, text as str."""
        frame = self.frame()
        assert frame.opcode in (Opcode.TEXT, Opcode.BINARY), frame
        data = bytes(frame.data)
        return data.decode() if frame.opcode is Opcode.TEXT else data

    def closing(self) -> Close:
        """Return the code and the reason of the server's Close frame."""
        frame = self.frame()
        assert frame.opcode is Opcode.CLOSE, frame
        return Close.parse(bytes(frame.data))


def socket_pair(tcp: bool = False) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets."""
    if not tcp:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    return accepted, client


def fill(websocket: Any, block: bytes = b"x" * 200_000) -> None:
    """Send to a peer that reads nothing, until there is no more room.

    The engine's thread and the kernel may take more out of the outbox a moment later,
    so the outbox counts as full after a while without room.
    """
    until = time.monotonic() + FULL
    while time.monotonic() < until:
        if websocket.send(block, True, overflow="refuse"):
            until = time.monotonic() + FULL
        else:
            time.sleep(0.005)


def shake(options: _engine.Options, **headers: Any) -> _engine.Handshake:
    """Return a valid handshake."""
    values = {
        "method": "GET",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "key": "dGhlIHNhbXBsZSBub25jZQ==",
        "version": "13",
        "protocols": "",
        "extensions": "",
    }
    return _engine.handshake(**{**values, **headers}, options=options)


def open_pair(
    modern: bool = False,
    tcp: bool = False,
    engine: dict[str, Any] | None = None,
    websocket_class: Any = DefaultWebSocket,
    extensions: str = "",
    **arguments: Any,
) -> tuple[Any, Peer]:
    """Open a connection; return the WebSocket and its peer."""
    options = _engine.Options(
        text_as_bytes=not modern, validate_utf8=modern, **(engine or {})
    )
    handshake = shake(options, extensions=extensions)
    permit = _engine.reserve(1_000_000)
    assert permit is not None
    server, client = socket_pair(tcp)
    connection = _engine.adopt(server.fileno()).start(
        handshake.response(None, []), b"", handshake, options, permit
    )
    server.close()
    client.settimeout(TIMEOUT)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return websocket_class(connection, modern=modern, **arguments), Peer(client)


def ready(websocket: Any) -> None:
    """Wait until a message or the end has arrived."""
    readable, _, _ = select.select([websocket.fileno()], [], [], TIMEOUT)
    assert readable, "nothing arrived"


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Start a call in a thread; return a function that waits for its result."""
    result: list[Any] = []

    def call() -> None:
        try:
            result.append(function())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(TIMEOUT)
        assert result, "still running"
        return result[0]

    return wait
