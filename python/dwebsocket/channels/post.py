"""The mailbox by which the channel layers of several processes reach one another.

A mailbox is a member of the hub that is no WebSocket. It listens to addresses: its own,
one for all mailboxes, and one for each group and each channel that has members or
receivers in this process. The addresses are users of the hub, which no client can send
to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.hub import connecting

__all__ = ("Post",)

#: Letters that are read at once.
_BATCH = 256
#: Letters, and their bytes, that may wait to be read; newer ones are dropped.
_MESSAGES, _BYTES = 65_536, 64 << 20
#: Threads that ask the broker for addresses at the same time.
_THREADS = 4


class Post:
    """The mailbox of one layer in one process.

    Args:
        prefix: The beginning of all addresses; layers with another prefix are apart.
        deliver: Called for each letter, in a thread of the mailbox.
        own: The addresses that it listens to from the beginning.

    Raises:
        OSError: The engine cannot be started, or is stopping.
    """

    def __init__(
        self, prefix: str, deliver: Callable[[bytes], None], own: Iterable[str]
    ) -> None:
        self._prefix = f"~channels:{prefix}:"
        self._deliver = deliver
        connecting.connect()
        options = _engine.Options(
            ping_interval=None,
            max_message_size=_BYTES,
            outbox_messages=_MESSAGES,
            outbox_bytes=_BYTES,
            overflow="drop_newest",
        )
        self._connection, self._far = _engine.connect_mailbox(options)
        self._pool = ThreadPoolExecutor(_THREADS, "websocket-channels")
        threading.Thread(
            target=self._read, name="websocket-channels", daemon=True
        ).start()
        #: Done when the broker knows the addresses of the mailbox.
        self.ready = [self.listen(address) for address in own]

    @property
    def is_usable(self) -> bool:
        """Whether the engine of this mailbox still runs, in this process."""
        return not self._connection.ended

    def listen(self, address: str) -> Future[None]:
        """Begin to listen to an address; the future is done when the broker knows."""
        return self._pool.submit(
            self._connection.identify,
            self._prefix + address,
            float(settings.BROKER_TIMEOUT),
        )

    def leave(self, address: str) -> None:
        """Listen to an address no longer."""
        self._connection.forget_user(self._prefix + address)

    def send(self, address: str, letter: bytes) -> None:
        """Send a letter to all other mailboxes that listen to an address."""
        _engine.publish(
            "user",
            [self._prefix + address],
            letter,
            binary=True,
            exclude=[self._connection.member_id],
        )

    def close(self) -> None:
        """Close the mailbox; idempotent."""
        self._far.hang_up()
        self._pool.shutdown(wait=False)

    def _read(self) -> None:
        while True:
            self._far.wait()
            letters: list[dict[str, Any]] = self._far.drain(_BATCH)
            for letter in letters:
                data = letter.get("bytes")
                if data is not None:
                    self._deliver(data)
            if not letters and self._far.is_over:
                return
