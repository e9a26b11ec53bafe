"""A small blocking client that leaves every byte to the test."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterable
from typing import NamedTuple

from . import frames
from .frames import Frame

#: Seconds that any single read may take: generous, for machines under load.
TIMEOUT = 20.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Address = tuple[str, int] | str


class Response(NamedTuple):
    """The head of an HTTP response, and its body where it has one."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return a header's only value, None where it is absent."""
        values = self.all(name)
        assert len(values) < 2, f"{name} sent {len(values)} times: {values}"
        return values[0] if values else None


def connect(address: Address, timeout: float = TIMEOUT) -> socket.socket:
    """Return a connected socket; the address is a path for a Unix socket."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return sock
    sock = socket.create_connection(address, timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class HttpClient:
    """An HTTP/1.1 connection that shows what came over the wire."""

    def __init__(self, address: Address, tls: bool = False) -> None:
        self.sock = connect(address)
        if tls:
            # The certificate is the test's own; it is not what is tested.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
        self.buffer = bytearray()
        #: Every byte received so far.
        self.transcript = bytearray()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.drop()

    def sendall(self, data: bytes) -> None:
        """Send raw bytes."""
        self.sock.sendall(data)

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self.buffer += data
        self.transcript += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self._more():
                raise EOFError(f"the server ended after {bytes(self.buffer)!r}")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def _take_line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if not self._more():
                raise EOFError(f"the server ended after {bytes(self.buffer)!r}")
        return self._take(self.buffer.index(b"\r\n") + 2)[:-2]

    def read_head(self) -> Response:
        """Return the head of the next response."""
        version, status, reason = (self._take_line().decode() + " ").split(
            " ", 2
        )  # the reason may be ""
        assert version in ("HTTP/1.1", "HTTP/1.0"), version
        headers = []
        while line := self._take_line():
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        return Response(int(status), reason.strip(), headers)

    def read_response(self) -> Response:
        """Return the next response with its body."""
        head = self.read_head()
        length = head.get("Content-Length")
        if (head.get("Transfer-Encoding") or "").lower() == "chunked":
            body = self._take_chunks()
        elif length is not None:
            body = self._take(int(length))
        else:
            body = self.rest()
        return head._replace(body=body)

    def _take_chunks(self) -> bytes:
        body = b""
        while size := int(self._take_line().split(b";")[0], 16):
            body += self._take(size)
            self._take_line()
        self._take_line()
        return body

    def request(
        self,
        path: str = "/",
        headers: Iterable[tuple[str, str]] = (),
        method: str = "GET",
        body: bytes = b"",
    ) -> Response:
        """Send a request and return its response."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return self.read_response()

    def rest(self) -> bytes:
        """Read to the end and return the bytes up to it.

        Raises:
            ConnectionResetError: The connection ended in a reset instead of a FIN.
        """
        while self._more():
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def half_close(self) -> None:
        """Send FIN, but go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def drop(self) -> None:
        """Close the socket without a word."""
        self.sock.close()

    def reset(self) -> None:
        """Close the socket with a TCP RST."""
        linger = struct.pack("ii", 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()


class WsClient(HttpClient):
    """A WebSocket client; :meth:`open` makes the handshake."""

    def __init__(self, address: Address, tls: bool = False) -> None:
        super().__init__(address, tls)
        self.key = base64.b64encode(os.urandom(16)).decode()
        self.response: Response | None = None

    def __enter__(self) -> WsClient:
        return self

    def handshake(
        self,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        method: str = "GET",
        without: Iterable[str] = (),
        host: str = "localhost",
    ) -> bytes:
        """Return the bytes of an opening handshake (RFC 6455 section 4.1)."""
        head = {
            "Host": host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": self.key,
            "Sec-WebSocket-Version": "13",
        }
        for name in without:
            del head[name]
        extra = dict(headers)
        pairs = [*(p for p in head.items() if p[0] not in extra), *extra.items()]
        lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in pairs)]
        return "\r\n".join([*lines, "", ""]).encode()

    def open(
        self, path: str, headers: Iterable[tuple[str, str]] = (), then: bytes = b""
    ) -> Response:
        """Make the handshake; ``then`` goes out in the same segment as the head."""
        self.sendall(self.handshake(path, headers) + then)
        return self.accepted()

    def accepted(self) -> Response:
        """Read the 101 and check it (RFC 6455 section 4.2.2)."""
        response = self.read_head()
        if response.status != 101:
            length = int(response.get("Content-Length") or 0)
            body = self._take(length)
            raise AssertionError(f"refused: {response.status} {body!r}")
        digest = hashlib.sha1(self.key.encode() + _GUID).digest()
        assert response.get("Sec-WebSocket-Accept") == base64.b64encode(digest).decode()
        assert (response.get("Upgrade") or "").lower() == "websocket"
        assert (response.get("Connection") or "").lower() == "upgrade"
        assert response.get("Content-Length") is None
        assert response.get("Transfer-Encoding") is None
        self.response = response
        return response

    def refused(
        self, path: str, headers: Iterable[tuple[str, str]] = (), **options: object
    ) -> Response:
        """Make a handshake that is to be answered with plain HTTP."""
        self.sendall(self.handshake(path, headers, **options))  # type: ignore[arg-type]
        response = self.read_response()
        assert response.status != 101
        return response

    def send(self, message: str | bytes) -> None:
        """Send a message: str as text, bytes as binary."""
        if isinstance(message, str):
            self.frame(frames.TEXT, message.encode())
        else:
            self.frame(frames.BINARY, message)

    def frame(
        self, opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True
    ) -> None:
        """Send one frame."""
        self.sendall(frames.encode(opcode, payload, fin=fin, mask=mask))

    def read_frame(self) -> Frame:
        """Return the next frame; the server's are never masked (section 5.1).

        Raises:
            EOFError: The server ended the connection.
        """
        while (found := frames.decode(self.buffer)) is None:
            if not self._more():
                raise EOFError(f"the server ended after {bytes(self.buffer)!r}")
        frame, size = found
        del self.buffer[:size]
        assert not frame.masked
        assert frame.rsv == 0
        return frame

    def receive(self) -> str | bytes:
        """Return the next message; answers pings on the way."""
        message, opcode = b"", None
        while True:
            frame = self.read_frame()
            if frame.opcode == frames.PING:
                self.frame(frames.PONG, frame.payload)
                continue
            assert frame.opcode in (frames.TEXT, frames.BINARY, frames.CONTINUATION), (
                f"not a message: {frame}"
            )
            assert (frame.opcode == frames.CONTINUATION) == (opcode is not None)
            opcode = opcode or frame.opcode
            message += frame.payload
            if frame.fin:
                return message.decode() if opcode == frames.TEXT else message

    def read_close(self) -> Frame:
        """Return the Close frame, past whatever comes before it."""
        while (frame := self.read_frame()).opcode != frames.CLOSE:
            pass
        return frame

    def close(self, code: int | None = 1000, reason: str = "") -> Frame:
        """Make the closing handshake from this side and return the server's frame."""
        self.sendall(frames.encode_close(code, reason))
        frame = self.read_close()
        self.ended()
        return frame

    def ended_after_close(self, code: int) -> None:
        """Check the server's answer to a Close frame that was sent before."""
        assert self.read_close().close_code == code
        self.ended()

    def answer_close(self) -> Frame:
        """Make the closing handshake that the server starts; return its frame."""
        frame = self.read_close()
        self.sendall(frames.encode_close(frame.close_code))
        self.ended()
        return frame

    def ended(self) -> None:
        """Check that nothing comes after the Close frame but the FIN, and one 101."""
        assert self.rest() == b""
        assert self.transcript.count(b"HTTP/1.") == 1
        self.sock.close()


def eventually(condition, timeout: float = TIMEOUT, what: str = ""):  # type: ignore[no-untyped-def]
    """Return the condition's first true value; for what has no event to wait for."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not (value := condition()):
        assert time.monotonic() < deadline, what or f"not in time: {condition}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return value
