"""The client's end of the socket pair: bytes there, messages here.

Nothing here blocks: :class:`.stage.Stage` polls the socket and calls ``transfer()``.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import termios
from array import array
from collections import deque
from typing import Any

from django.utils.datastructures import CaseInsensitiveMapping

from . import frames
from .frames import Deflate, Frame

__all__ = ("Wire",)

#: Bytes of one read. More would be memory that the system maps and unmaps each time.
_CHUNK = 1 << 16


class Wire:
    """The client's protocol on one socket.

    Args:
        sock: The client's end.
        raw: Keep the frames as they are, and answer none of them.
    """

    def __init__(self, sock: socket.socket, raw: bool = False) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._fd = sock.fileno()
        self._raw = raw
        self._head: bytearray | None = bytearray()
        self._out = bytearray()
        self._reader = frames.Reader()
        self._parts: list[Frame] = []
        self._deflate: Deflate | None = None
        #: The headers of the 101.
        self.headers: CaseInsensitiveMapping[str] = CaseInsensitiveMapping({})
        #: Received messages, and the payloads of received pongs.
        self.messages: deque[str | bytes] = deque()
        self.pongs: deque[bytes] = deque()
        #: Received frames, if they are wanted raw.
        self.frames: deque[Frame] = deque()
        #: How many whole messages were sent.
        self.sent = 0
        #: The code and the reason of the server's Close frame.
        self.close_code: int | None = None
        self.close_reason = ""
        #: Whether a Close frame was sent, and whether the connection is over.
        self.closing = False
        self.over = False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._fd

    def events(self) -> int:
        """Return what to poll the socket for."""
        return select.POLLIN | (select.POLLOUT if self._out else 0)

    @property
    def is_open(self) -> bool:
        """Whether the 101 has come."""
        return self._head is None

    @property
    def has_heard_the_end(self) -> bool:
        """Whether the server's end of the connection is known."""
        return self.over or (self._raw and self.close_code is not None)

    @property
    def is_read(self) -> bool:
        """Whether the server has read all that was sent."""
        if self.over:
            return True
        unread = array("i", [0])
        fcntl.ioctl(self._fd, termios.TIOCOUTQ, unread)
        return not self._out and not unread[0]

    @property
    def is_written(self) -> bool:
        """Whether all that was sent is in the socket."""
        return not self._out or self.over

    # Sending.

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        opcode = frames.TEXT if isinstance(message, str) else frames.BINARY
        data = message.encode() if isinstance(message, str) else bytes(message)
        if self._deflate is None:
            self.send_frame(Frame(opcode, data))
        else:
            self.send_frame(Frame(opcode, self._deflate.deflate(data), rsv1=True))

    def send_frame(self, frame: Frame, mask: bool = False) -> None:
        """Send a frame as it is."""
        self.sent += frame.fin and frame.opcode < frames.CLOSE
        self.closing |= frame.opcode == frames.CLOSE
        self.write(frame.encode(mask))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._out += data
        self._flush()

    def _flush(self) -> None:
        while self._out and not self.over:
            try:
                sent = self._sock.send(self._out)
            except BlockingIOError:
                return
            except OSError:
                # The server has gone; what it has sent before can still be read.
                self._out.clear()
                return
            del self._out[:sent]

    # Receiving.

    def transfer(self) -> None:
        """Write and read what is possible without waiting."""
        self._flush()
        while not self.over:
            try:
                data = self._sock.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.shut()
                return
            self._note(data)
            if len(data) < _CHUNK:
                # The end of the file, if there is one, makes the socket ready again.
                return

    def _note(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, found, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not found:
                return
            self._open(head)
            data = rest
        for frame in self._reader.feed(data):
            if self._raw:
                self._note_raw(frame)
            else:
                self._note_frame(frame)

    def _open(self, head: bytes) -> None:
        self._head = None
        found: dict[str, str] = {}
        for text in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = text.partition(":")
            value = value.strip()
            found[name] = f"{found[name]}, {value}" if name in found else value
        self.headers = CaseInsensitiveMapping(found)
        agreed = self.headers.get("Sec-WebSocket-Extensions")
        if agreed:
            self._deflate = Deflate(agreed)

    def _note_raw(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame.opcode == frames.CLOSE:
            self._note_close(frame.data)

    def _note_frame(self, frame: Frame) -> None:
        if frame.opcode == frames.PING:
            self.send_frame(Frame(frames.PONG, frame.data))
        elif frame.opcode == frames.PONG:
            self.pongs.append(frame.data)
        elif frame.opcode == frames.CLOSE:
            self._note_close(frame.data)
            if not self.closing:
                self.send_frame(Frame(frames.CLOSE, frame.data[:2]))
        else:
            self._parts.append(frame)
            if frame.fin:
                self.messages.append(self._joined())

    def _joined(self) -> str | bytes:
        first = self._parts[0]
        data = b"".join(part.data for part in self._parts)
        self._parts.clear()
        if first.rsv1 and self._deflate is not None:
            data = self._deflate.inflate(data)
        return data.decode() if first.opcode == frames.TEXT else data

    def _note_close(self, data: bytes) -> None:
        self.close_code = int.from_bytes(data[:2], "big") if data else 1005
        self.close_reason = data[2:].decode(errors="replace")

    def shut(self) -> None:
        """Close the socket; without a Close frame before, the code is 1006."""
        self.over = True
        if self.close_code is None:
            self.close_code = 1006
        with contextlib.suppress(OSError):
            self._sock.close()

    def __del__(self, *_: Any) -> None:
        self._sock.close()
