"""The mailbox by which the channel layers of several processes reach one another.

A mailbox is a member of the hub that is no WebSocket. It listens to addresses: its own,
one for all mailboxes, and one for each group and each channel that has members or
receivers in this process. The addresses are users of the hub, which no client can send
to.

Whatever waits for the broker does so in daemon threads of the mailbox: in the callers,
it would stop event loops. An executor of Python's would refuse at the end of the
interpreter.
"""

from __future__ import annotations

import threading
from _queue import SimpleQueue
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.hub import connecting
from dwebsocket.process import native

__all__ = ("Post",)

#: Letters that are read at once.
_BATCH = 256
#: Letters, and their bytes, that may wait to be read, and to be sent; newer ones are
#: dropped.
_MESSAGES, _BYTES = 65_536, 64 << 20
#: Addresses that the broker may have to be asked for.
_ADDRESSES = 65_536
#: Threads that ask the broker for addresses at the same time.
_THREADS = 4


class _Asking:
    """An address that the broker is asked for."""

    __slots__ = ("again", "done")

    def __init__(self) -> None:
        self.done: Future[None] = Future()
        #: Whether the address was left meanwhile.
        self.again = False


class Post:
    """The mailbox of one layer in one process.

    Args:
        prefix: The beginning of all addresses; layers with another prefix are apart.
        deliver: Called for each letter, in a thread of the mailbox.
        own: The addresses that it listens to from the beginning.
        lost: Called for each letter that is dropped because too many wait.

    Raises:
        OSError: The engine cannot be started, or is stopping.
        RuntimeError: The system has no thread left.
    """

    def __init__(
        self,
        prefix: str,
        deliver: Callable[[bytes], None],
        own: Iterable[str],
        lost: Callable[[], None],
    ) -> None:
        self._prefix = f"~channels:{prefix}:"
        self._deliver = deliver
        self._lost = lost
        connecting.connect()
        options = _engine.Options(
            ping_interval=None,
            max_message_size=_BYTES,
            outbox_messages=_MESSAGES,
            outbox_bytes=_BYTES,
            overflow="drop_newest",
        )
        self._connection, self._far = _engine.connect_mailbox(options)
        self._lock = threading.Lock()
        self._closed = False
        #: Letters that wait to be sent, in order, and None at the end.
        self._letters: SimpleQueue[tuple[str, bytes, Future[None]] | None]
        self._letters = SimpleQueue()
        #: Done, from the first to the last, when the letters that wait are sent.
        self._pending: deque[Future[None]] = deque()
        #: The bytes of these letters.
        self._bytes = 0
        #: Addresses that the broker is asked for, and None for each thread at the end.
        self._addresses: SimpleQueue[str | None] = SimpleQueue()
        self._asking: dict[str, _Asking] = {}
        self._threads = 0
        #: The thread that reads.
        self._reader = 0
        native.start_thread(self._read, "websocket-channels")
        native.start_thread(self._carry, "websocket-letters")
        #: Done when the broker knows the addresses of the mailbox.
        self.ready = [self.listen(address) for address in own]

    @property
    def is_usable(self) -> bool:
        """Whether the engine of this mailbox still runs, in this process."""
        return not self._connection.ended

    # Addresses.

    def listen(self, address: str) -> Future[None]:
        """Begin to listen to an address; the future is done when the broker knows.

        The future has an ``OSError`` if the broker has to be asked for too many.
        """
        with self._lock:
            asking = self._asking.get(address)
            if asking is not None:
                return asking.done
            asking = _Asking()
            if self._closed or len(self._asking) >= _ADDRESSES:
                refusal = OSError("the mailbox is closed, or asks for too many groups")
                asking.done.set_exception(refusal)
                return asking.done
            if self._threads < min(_THREADS, len(self._asking) + 1):
                native.start_thread(self._enter, "websocket-addresses")
                self._threads += 1
            self._asking[address] = asking
            self._addresses.put(address)
        return asking.done

    def leave(self, address: str) -> None:
        """Listen to an address no longer."""
        with self._lock:
            asking = self._asking.get(address)
            if asking is not None:
                # Who waits for it is to find that the mailbox listens.
                asking.again = True
            if not self._closed and self.is_usable:
                self._connection.forget_user(self._prefix + address)

    def _enter(self) -> None:
        while (address := self._addresses.get()) is not None:
            asking = self._asking[address]
            failure: BaseException | None = None
            again = True
            while again:
                asking.again = False
                try:
                    self._connection.identify(
                        self._prefix + address, float(settings.BROKER_TIMEOUT)
                    )
                except BaseException as error:
                    failure = error
                with self._lock:
                    again = failure is None and asking.again and not self._closed
                    if not again:
                        del self._asking[address]
            _finish(asking.done, failure)

    # Letters.

    def send(self, address: str, letter: bytes) -> Future[None]:
        """Send a letter to all other mailboxes that listen to an address.

        The call does not wait, except in the thread that reads, for room. Letters are
        sent in the order of the calls; if too many wait, this one is dropped.

        Returns:
            A future that is done when the broker has the letter, or when it is lost.
        """
        if threading.get_ident() == self._reader:
            # No event loop waits for this thread, and what it sends was asked for.
            while (full := self.full) is not None:
                full.exception()
        sent: Future[None] = Future()
        with self._lock:
            kept = not self._closed and not self._is_full()
            if kept:
                self._pending.append(sent)
                self._bytes += len(letter)
                self._letters.put((address, letter, sent))
        if not kept:
            self._lost()
            sent.set_result(None)
        return sent

    @property
    def full(self) -> Future[None] | None:
        """What is done when there may be room for letters again; None: there is."""
        if not self._is_full():
            return None
        with self._lock:
            return self._pending[0] if self._is_full() else None

    def _is_full(self) -> bool:
        return len(self._pending) >= _MESSAGES or self._bytes >= _BYTES

    def _carry(self) -> None:
        while (item := self._letters.get()) is not None:
            address, letter, sent = item
            failure: BaseException | None = None
            try:
                _engine.publish(
                    "user",
                    [self._prefix + address],
                    letter,
                    binary=True,
                    exclude=[self._connection.member_id],
                )
            except BaseException as error:
                failure = error
            with self._lock:
                self._pending.popleft()
                self._bytes -= len(letter)
            _finish(sent, failure)

    def close(self) -> Future[None] | None:
        """Close the mailbox; idempotent.

        Returns:
            What is done when the letters that wait are sent; None: none wait.
        """
        with self._lock:
            last = self._pending[-1] if self._pending else None
            if self._closed:
                return last
            self._closed = True
            self._letters.put(None)
            for _ in range(self._threads):
                self._addresses.put(None)
        self._far.hang_up()
        return last

    def _read(self) -> None:
        self._reader = threading.get_ident()
        while True:
            self._far.wait()
            letters: list[dict[str, Any]] = self._far.drain(_BATCH)
            for letter in letters:
                data = letter.get("bytes")
                if data is not None:
                    self._deliver(data)
            if not letters and self._far.is_over:
                return


def _finish(future: Future[None], failure: BaseException | None) -> None:
    if failure is None:
        future.set_result(None)
    else:
        future.set_exception(failure)
