"""RFC 6455 frames as bytes, written independently of the package under test."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class Frame(NamedTuple):
    """One frame, unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    masked: bool = False

    @property
    def close_code(self) -> int | None:
        """The code of a Close frame, None where it has none."""
        if len(self.payload) < 2:
            return None
        return int(struct.unpack("!H", self.payload[:2])[0])

    @property
    def close_reason(self) -> str:
        """The reason of a Close frame."""
        return self.payload[2:].decode()


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Mask or unmask a payload (RFC 6455 section 5.3)."""
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def encode(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bool = True,
) -> bytes:
    """Return the bytes of a frame (RFC 6455 section 5.2)."""
    head = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        head.append(flag | len(payload))
    elif len(payload) < 65536:
        head += struct.pack("!BH", flag | 126, len(payload))
    else:
        head += struct.pack("!BQ", flag | 127, len(payload))
    if not mask:
        return bytes(head) + payload
    key = os.urandom(4)
    return bytes(head) + key + apply_mask(payload, key)


def encode_close(code: int | None = 1000, reason: str = "") -> bytes:
    """Return the bytes of a Close frame; without a code its body is empty."""
    body = b"" if code is None else struct.pack("!H", code) + reason.encode()
    return encode(CLOSE, body)


def decode(data: bytes | bytearray) -> tuple[Frame, int] | None:
    """Return the first frame in ``data`` and its length, None if it is not whole."""
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < 2 + width:
            return None
        size, start = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
    masked = bool(data[1] & 0x80)
    if masked:
        start += 4
    if len(data) < start + size:
        return None
    payload = bytes(data[start : start + size])
    if masked:
        payload = apply_mask(payload, bytes(data[start - 4 : start]))
    frame = Frame(
        data[0] & 0x0F, payload, bool(data[0] & 0x80), data[0] >> 4 & 7, masked
    )
    return frame, start + size
