"""Runs each view in a greenlet; one descriptor in gevent's loop wakes them all.

This module is imported only where gevent has patched the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import gevent
from gevent import monkey
from gevent.event import Event

from dwebsocket import _engine
from dwebsocket.process.gevent import sender

from .call import GOING_AWAY, Job

__all__ = ("runner",)

_READ = 1

#: Seconds that a view may receive message after message before other greenlets run.
_SLICE = 0.001


class Waker:
    """Wakes a hub's greenlets when the engine reports their connections ready."""

    def __init__(self, hub: Any) -> None:
        self.queue = _engine.WakeQueue()
        self._waiting: dict[int, set[Event]] = {}
        self._watcher = hub.loop.io(self.queue.fileno(), _READ)

    def _drain(self) -> None:
        for number in self.queue.drain():
            for event in self._waiting.get(number, ()):
                event.set()

    def expect(self, number: int) -> Event:
        """Return an event that is set when the engine reports a connection."""
        event = Event()
        if not self._waiting:
            # Start it only while a greenlet waits: a watcher keeps the loop alive.
            self._watcher.start(self._drain)
        self._waiting.setdefault(number, set()).add(event)
        return event

    def forget(self, number: int, event: Event) -> None:
        """Remove an event that :meth:`expect` has returned."""
        waiting = self._waiting[number]
        waiting.discard(event)
        if not waiting:
            del self._waiting[number]
            if not self._waiting:
                self._watcher.stop()


_wakers: WeakKeyDictionary[Any, Waker] = WeakKeyDictionary()


def _waker() -> Waker:
    hub = gevent.get_hub()
    waker = _wakers.get(hub)
    if waker is None:
        waker = _wakers[hub] = Waker(hub)
    return waker


class Port:
    """Waits for one connection without blocking the hub."""

    __slots__ = ("_connection", "_since", "_thread", "_waker")

    def __init__(self, connection: _engine.Connection, waker: Waker) -> None:
        self._connection = connection
        self._waker = waker
        self._thread = _native_thread()
        self._since = time.monotonic()

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Receive a message as the engine's ``receive`` does, cooperatively."""
        connection = self._connection
        message = connection.receive(0)
        if timeout == 0:
            return message
        if message is not None:
            self._let_others_run()
            return message
        if _native_thread() != self._thread:
            # A native thread (of gevent's pool, say) may block.
            return connection.receive(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not connection.ended:
            if not self._pause(connection.arm, deadline):
                return connection.receive(0)
            message = connection.receive(0)
            if message is not None:
                return message
        return connection.receive(0)

    def _let_others_run(self) -> None:
        """Switch to other greenlets now and then: a flooded view never has to wait."""
        now = time.monotonic()
        if now - self._since > _SLICE and _native_thread() == self._thread:
            gevent.sleep(0)
            self._since = time.monotonic()

    def offer(self, message: Any, binary: bool | None, overflow: str) -> bool:
        """Send as the engine's ``send`` does, and note it for this greenlet."""
        sender().note(self._connection.id)
        return self._connection.send(message, binary, overflow)

    def is_served(self) -> bool:
        """Return whether this greenlet serves only this connection."""
        return sender().serves(self._connection.id)

    def turns(self) -> int:
        """Return how often this greenlet has switched between connections."""
        return sender().turns

    def send(self, message: Any, binary: bool | None, timeout: float | None) -> bool:
        """Send as the engine's ``send`` does with "block", cooperatively."""
        connection = self._connection
        if _native_thread() != self._thread:
            return connection.send(message, binary, "block", timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not connection.send(message, binary, "refuse"):
            if connection.ended or connection.close_code is not None:
                return False
            if not self._pause(connection.arm_writable, deadline):
                return connection.send(message, binary, "drop_newest")
        return True

    def _pause(self, arm: Any, deadline: float | None) -> bool:
        """Wait until the engine reports the connection; False: the time is up."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        number = self._connection.id
        event = self._waker.expect(number)
        try:
            if not arm():
                # The connection is ready already. Let other greenlets run first.
                gevent.sleep(0)
                return True
            event.wait(left)
            return True
        finally:
            self._since = time.monotonic()
            self._waker.forget(number, event)


#: Returns the id of the native thread in which the greenlets run.
_native_thread: Callable[[], int] = monkey.get_original("_thread", "get_ident")


class Seat:
    """A seat (see :class:`.runner.Seat`) that starts a greenlet for its call.

    Args:
        greenlets: The runner.
    """

    __slots__ = ("_greenlets",)

    def __init__(self, greenlets: Greenlets) -> None:
        self._greenlets = greenlets

    def run(self, job: Job) -> None:
        """Run the call in a new greenlet."""
        self._greenlets.start(job)

    def cancel(self) -> None:
        """Do nothing: no greenlet waits."""


class Greenlets:
    """Runs each view in a greenlet."""

    def __init__(self) -> None:
        self._running: set[Any] = set()

    def wake_queue(self) -> _engine.WakeQueue:
        """Return the queue by which the engine reports ready connections."""
        return _waker().queue

    def port(self, connection: _engine.Connection) -> Port:
        """Return the port that waits for a connection in this hub."""
        return Port(connection, _waker())

    def reserve(self) -> Seat:
        """Return a seat; there is always room for one more greenlet.

        Raises:
            OSError: No descriptor is left for the hub's queue.
        """
        _waker()
        return Seat(self)

    def start(self, job: Job) -> None:
        """Run the call in a greenlet."""

        def ended(greenlet: Any) -> None:
            self._running.discard(greenlet)
            # A greenlet that was killed before it began has closed nothing.
            job.connection.close(GOING_AWAY, "")

        greenlet = gevent.Greenlet(job.run)
        self._running.add(greenlet)
        greenlet.rawlink(ended)
        greenlet.start()

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""
        gevent.joinall(list(self._running), timeout=timeout)
        return not self._running


runner = Greenlets()
