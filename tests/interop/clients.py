"""The clients, each behind the same few methods."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import picows.websockets
import websocket
import websockets.sync.client

LIMIT = 16 * 1024 * 1024
TIMEOUT = 20.0

Message: TypeAlias = str | bytes


class Client:
    """A connected client.

    Args:
        url: Where to connect.
        compression: Whether to offer permessage-deflate.
    """

    #: Whether the client can compress.
    compresses = True

    def __init__(self, url: str, compression: bool) -> None:
        raise NotImplementedError

    def extensions(self) -> str:
        """Return the extensions that the server agreed to."""
        raise NotImplementedError

    def send(self, message: Message) -> None:
        """Send str as text, bytes as binary."""
        raise NotImplementedError

    def receive(self) -> Message:
        """Return the next message."""
        raise NotImplementedError

    def close(self, code: int, reason: str) -> None:
        """Close from this side, and wait for the server's half."""
        raise NotImplementedError

    def closed(self) -> tuple[int, str]:
        """Wait for the server's Close frame; return its code and reason."""
        raise NotImplementedError

    def end(self) -> None:
        """Let go of everything."""

    def echoes(self, size: int, binary: bool) -> bool:
        """Send a message of this size; return whether it comes back."""
        message = os.urandom(1024) * (size // 1024) if binary else "é" * (size // 2)
        self.send(message)
        return self.receive() == message


class Websockets(Client):
    """The threaded client of ``websockets``."""

    def __init__(self, url: str, compression: bool) -> None:
        self._stack = contextlib.ExitStack()
        self._ws = self._stack.enter_context(
            websockets.sync.client.connect(
                url,
                compression="deflate" if compression else None,
                max_size=LIMIT,
                proxy=None,
                open_timeout=TIMEOUT,
                close_timeout=TIMEOUT,
            )
        )

    def extensions(self) -> str:
        response = self._ws.response
        assert response is not None
        return response.headers.get("Sec-WebSocket-Extensions", "")

    def send(self, message: Message) -> None:
        self._ws.send(message)

    def receive(self) -> Message:
        return self._ws.recv(TIMEOUT)

    def close(self, code: int, reason: str) -> None:
        self._ws.close(code, reason)
        assert self._ws.protocol.close_rcvd is not None

    def closed(self) -> tuple[int, str]:
        with contextlib.suppress(websockets.ConnectionClosed):
            raise AssertionError(f"a message: {self._ws.recv(TIMEOUT)!r}")
        received = self._ws.protocol.close_rcvd
        assert received is not None
        return received.code, received.reason

    def end(self) -> None:
        self._stack.close()


class WebsocketClient(Client):
    """``websocket-client``."""

    compresses = False

    def __init__(self, url: str, compression: bool) -> None:
        # Its check of UTF-8 is a loop in Python. On a busy machine it took so long for
        # ten mebibytes that the server missed a pong; decode() below checks as well.
        self._ws = websocket.create_connection(
            url, timeout=TIMEOUT, skip_utf8_validation=True
        )

    def extensions(self) -> str:
        return self._ws.headers.get("sec-websocket-extensions", "")

    def send(self, message: Message) -> None:
        if isinstance(message, str):
            self._ws.send(message)
        else:
            self._ws.send_binary(message)

    def receive(self) -> Message:
        opcode, data = self._ws.recv_data()
        return data.decode() if opcode == websocket.ABNF.OPCODE_TEXT else data

    def close(self, code: int, reason: str) -> None:
        self._ws.send_close(code, reason.encode())
        self.closed()

    def closed(self) -> tuple[int, str]:
        opcode, data = self._ws.recv_data(control_frame=True)
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        return struct.unpack("!H", data[:2])[0], data[2:].decode()

    def end(self) -> None:
        self._ws.shutdown()


class Asynchronous(Client):
    """What the clients of asyncio share: an event loop in a thread of their own.

    (Playwright, in another test, may have left one running in the main thread.)
    """

    def __init__(self, url: str, compression: bool) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self._run(self._connect(url, compression))
        except BaseException:
            self._stop()
            raise

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(TIMEOUT)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _connect(self, url: str, compression: bool) -> None:
        raise NotImplementedError

    async def _end(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        try:
            self._run(self._end())
        finally:
            self._stop()


class Aiohttp(Asynchronous):
    """The client of ``aiohttp``."""

    async def _connect(self, url: str, compression: bool) -> None:
        self._session = aiohttp.ClientSession()
        try:
            self._ws = await self._session.ws_connect(
                url, compress=15 if compression else 0, max_msg_size=LIMIT
            )
        except BaseException:
            await self._session.close()
            raise

    def extensions(self) -> str:
        return "permessage-deflate" if self._ws.compress else ""

    def send(self, message: Message) -> None:
        send = self._ws.send_str if isinstance(message, str) else self._ws.send_bytes
        self._run(send(message))  # type: ignore[operator]

    def receive(self) -> Message:
        message = self._run(self._ws.receive())
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
        return message.data  # type: ignore[no-any-return]

    def close(self, code: int, reason: str) -> None:
        assert self._run(self._ws.close(code=code, message=reason.encode()))

    def closed(self) -> tuple[int, str]:
        message = self._run(self._ws.receive())
        assert message.type == aiohttp.WSMsgType.CLOSE
        return message.data, message.extra

    async def _end(self) -> None:
        await self._ws.close()
        await self._session.close()


class Picows(Asynchronous):
    """``picows``, by the interface that it shares with ``websockets``."""

    async def _connect(self, url: str, compression: bool) -> None:
        self._ws = await picows.websockets.connect(
            url,
            compression="deflate" if compression else None,
            max_size=LIMIT,
            proxy=None,
        )

    def extensions(self) -> str:
        return self._ws.response.headers.get("Sec-WebSocket-Extensions", "")

    def send(self, message: Message) -> None:
        self._run(self._ws.send(message))

    def receive(self) -> Message:
        return self._run(self._ws.recv())  # type: ignore[no-any-return]

    def close(self, code: int, reason: str) -> None:
        self._run(self._ws.close(code, reason))

    def closed(self) -> tuple[int, str]:
        self._run(self._ws.wait_closed())
        return self._ws.close_code, self._ws.close_reason or ""

    async def _end(self) -> None:
        await self._ws.close()


class Tungstenite(Client):
    """``tokio-tungstenite``: a Rust program, told by a pipe what to do."""

    compresses = False
    #: The program, built by a fixture.
    program = ""

    def __init__(self, url: str, compression: bool) -> None:
        self._process = subprocess.Popen(
            [self.program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._extensions = self._read(b"o").decode()

    def _write(self, kind: bytes, data: bytes = b"") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(kind + struct.pack("!I", len(data)) + data)
        self._process.stdin.flush()

    def _read(self, *kinds: bytes) -> bytes:
        assert self._process.stdout is not None
        head = self._process.stdout.read(5)
        assert head, "the client has gone"
        self._kind = head[:1]
        data = self._process.stdout.read(*struct.unpack("!I", head[1:]))
        assert self._kind in kinds, (head, data)
        return data

    def extensions(self) -> str:
        return self._extensions

    def send(self, message: Message) -> None:
        if isinstance(message, str):
            self._write(b"t", message.encode())
        else:
            self._write(b"b", message)

    def receive(self) -> Message:
        data = self._read(b"t", b"b")
        return data.decode() if self._kind == b"t" else data

    def close(self, code: int, reason: str) -> None:
        self._write(b"c", struct.pack("!H", code) + reason.encode())
        self.closed()

    def closed(self) -> tuple[int, str]:
        data = self._read(b"c")
        return struct.unpack("!H", data[:2])[0], data[2:].decode()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def page_url(url: str) -> str:
    """Return the URL of the page from which a browser connects."""
    parts = urlsplit(url)
    return f"http://{parts.netloc}/"


@contextlib.contextmanager
def connected(kind: type[Client], url: str, compression: bool) -> Iterator[Client]:
    """Connect, and let go at the end."""
    client = kind(url, compression)
    try:
        yield client
    finally:
        client.end()
