"""Frames of a client (RFC 6455), in pure Python and without I/O."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ("BINARY", "CLOSE", "PING", "PONG", "TEXT", "Deflate", "Frame", "Reader")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

#: The end of each deflated block, which permessage-deflate leaves out.
_TAIL = b"\x00\x00\xff\xff"


class Frame(NamedTuple):
    """One frame.

    Args:
        opcode: The opcode (RFC 6455 section 5.2).
        data: The payload, unmasked.
        fin: Whether the frame is the last one of its message.
        rsv1: The first reserved bit: the message is compressed.
    """

    opcode: int
    data: bytes = b""
    fin: bool = True
    rsv1: bool = False

    def encode(self, mask: bool = False) -> bytes:
        """Return the frame's bytes as a client sends them.

        Args:
            mask: Mask with random bytes. False: with zeros, which is valid, too, and
                leaves the payload readable.
        """
        head = bytearray([self.fin << 7 | self.rsv1 << 6 | self.opcode])
        length = len(self.data)
        if length < 126:
            head.append(0x80 | length)
        elif length < 1 << 16:
            head.append(0x80 | 126)
            head += length.to_bytes(2, "big")
        else:
            head.append(0x80 | 127)
            head += length.to_bytes(8, "big")
        if not mask:
            return bytes(head) + bytes(4) + self.data
        key = os.urandom(4)
        return bytes(head) + key + _masked(self.data, key)


def _masked(data: bytes, key: bytes) -> bytes:
    length = len(data)
    stream = (key * (length // 4 + 1))[:length]
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")
    return mixed.to_bytes(length, "big")


class Reader:
    """Cuts the bytes of a server into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add bytes, and yield the frames that are complete."""
        self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        start, length = 2, buffer[1] & 0x7F
        if length > 125:
            size = 2 if length == 126 else 8
            start += size
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + length:
            return None
        first = buffer[0]
        data = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return Frame(first & 0x0F, data, bool(first & 0x80), bool(first & 0x40))


class Deflate:
    """The extension permessage-deflate (RFC 7692), as the server has agreed to it.

    Args:
        agreed: The header ``Sec-WebSocket-Extensions`` of the 101.
    """

    #: What a client offers.
    OFFER = "permessage-deflate; client_max_window_bits"

    def __init__(self, agreed: str) -> None:
        _, *parts = (part.strip() for part in agreed.split(";"))
        given = dict(part.partition("=")[::2] for part in parts)
        self._bits = int(given.get("client_max_window_bits") or 15)
        self._server_bits = int(given.get("server_max_window_bits") or 15)
        self._fresh = "client_no_context_takeover" in given
        self._server_fresh = "server_no_context_takeover" in given
        self._deflater = self._new_deflater()
        self._inflater = zlib.decompressobj(-self._server_bits)

    def _new_deflater(self) -> zlib._Compress:
        # zlib has no raw window of 8 bits.
        return zlib.compressobj(wbits=-max(self._bits, 9))

    def deflate(self, data: bytes) -> bytes:
        """Return the compressed payload of one message."""
        packed = self._deflater.compress(data)
        packed += self._deflater.flush(zlib.Z_SYNC_FLUSH)
        if self._fresh:
            self._deflater = self._new_deflater()
        return packed[: -len(_TAIL)]

    def inflate(self, data: bytes) -> bytes:
        """Return the payload of one message that the server has compressed."""
        plain = self._inflater.decompress(data + _TAIL)
        if self._server_fresh:
            self._inflater = zlib.decompressobj(-self._server_bits)
        return plain
