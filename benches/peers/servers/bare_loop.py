"""The floor of a synchronous view: a thread per connection, without a framework.

Usage: ``bare_loop.py PORT``. A thread receives, unmasks and sends in plain sockets;
every `recv` and every `send` releases the interpreter. Keepalive: none. Only one
publisher may send at a time.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import sys
import threading
from collections.abc import Iterator

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

# From this size on, a table for every byte of the key is faster than a long integer.
LONG = 1024
XOR = [bytes(byte ^ part for byte in range(256)) for part in range(256)]

members: set[socket.socket] = set()


def read_head(connection: socket.socket) -> bytes:
    """Return the head of the request."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(4096)
        if not part:
            raise ConnectionError
        head += part
    return head


def answer(head: bytes) -> bytes:
    """Return the response to a request: an upgrade, or a greeting."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            key = base64.b64encode(hashlib.sha1(value.strip() + GUID).digest())
            return (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + key + b"\r\n\r\n"
            )
    return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame from the server."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def unmask(payload: bytes, key: bytes) -> bytes:
    """Return the payload of a frame from the client."""
    size = len(payload)
    if size < LONG:
        mask = (key * (size // 4 + 1))[:size]
        unmasked = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
        return unmasked.to_bytes(size, "little")
    unmasked_bytes = bytearray(size)
    for offset, part in enumerate(key):
        unmasked_bytes[offset::4] = payload[offset::4].translate(XOR[part])
    return bytes(unmasked_bytes)


def frames(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield the opcode and the payload of every frame; the client does not fragment."""
    buffer = b""
    wanted = 6
    while True:
        while len(buffer) < wanted:
            part = connection.recv(65536)
            if not part:
                return
            buffer = buffer + part if buffer else part
        start, size = 6, buffer[1] & 0x7F
        if size >= 126:
            start = 8 if size == 126 else 14
            size = int.from_bytes(buffer[2 : start - 4], "big")
        end = start + size
        if len(buffer) < end:
            wanted = end
            continue
        yield buffer[0] & 0x0F, unmask(buffer[start:end], buffer[start - 4 : start])
        buffer = buffer[end:]
        wanted = 6


def serve(connection: socket.socket) -> None:
    """Serve one connection until it ends."""
    with connection:
        try:
            head = read_head(connection)
            connection.sendall(answer(head))
            if b"GET /member " in head:
                members.add(connection)
            publishes = b"GET /publish " in head
            for opcode, payload in frames(connection):
                if opcode in (TEXT, BINARY):
                    message = frame(opcode, payload)
                    for receiver in list(members) if publishes else [connection]:
                        receiver.sendall(message)
                elif opcode == PING:
                    connection.sendall(frame(PONG, payload))
                elif opcode == CLOSE:
                    connection.sendall(frame(CLOSE, payload))
                    return
        except ConnectionError:
            return
        finally:
            members.discard(connection)


def main() -> None:
    """Accept connections for ever."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as server:
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
