"""Runs each view in a greenlet; one descriptor in gevent's loop wakes them all.

This module is imported only where gevent has patched the process.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import gevent
import greenlet as greenlets
from django.db import connections

from dwebsocket import _engine
from dwebsocket.process import databases
from dwebsocket.process.gevent import sender
from dwebsocket.websocket.endpoint import of

from .call import GOING_AWAY, Job
from .handlers import prepared

__all__ = ("runner",)

_READ = 1
#: Seconds between two looks at whether the handlers have ended.
_STEP = 0.01


class Waker:
    """Attends the engine's loop of a hub: reads sockets, and runs what waits for them.

    No reference leads from here to the hub, which must be able to go.
    """

    def __init__(self, hub: Any) -> None:
        self._hubs = hub.loop
        #: Reports that greenlets wait: a watcher with a reference keeps the loop alive.
        awaited = self._hubs.async_(ref=False)
        self.loop = _engine.EventLoop(
            gevent.getcurrent, functools.partial(setattr, awaited, "ref")
        )
        self._watchers = [
            self._hubs.io(descriptor, _READ, ref=False)
            for descriptor in self.loop.filenos()
        ]
        awaited.start(_nothing)
        for watcher in self._watchers:
            watcher.start(self._attend)
        self._watchers.append(awaited)
        # At exit, views may still have to end.
        weakref.finalize(hub, _end, self._watchers).atexit = False

    def _attend(self) -> None:
        loop = self.loop
        if loop.is_foreign:
            # A forked child has inherited the descriptors, which belong to its parent.
            _end(self._watchers)
            return
        loop.attend()
        for greenlet in loop:
            try:
                greenlet.switch()
            except BaseException:
                gevent.get_hub().handle_error(greenlet, *sys.exc_info())
        if loop.is_unfinished:
            self._hubs.run_callback(self._attend)

    def alarm(self, seconds: float, number: int, greenlet: Any) -> Any:
        """Return a timer that ends the wait of a greenlet."""
        # libuv counts milliseconds.
        timer = self._hubs.timer(max(seconds, 0.001))
        timer.start(self._expire, number, greenlet)
        return timer

    def _expire(self, number: int, greenlet: Any) -> None:
        if self.loop.unpark(number, greenlet):
            greenlet.switch()


def _nothing() -> None:
    """Do nothing: a watcher needs a callback."""


def _end(watchers: list[Any]) -> None:
    for watcher in watchers:
        # The loop may have ended before.
        with contextlib.suppress(Exception):
            watcher.stop()


_wakers: weakref.WeakKeyDictionary[Any, Waker] = weakref.WeakKeyDictionary()


def _waker() -> Waker:
    hub = gevent.get_hub()
    waker = _wakers.get(hub)
    if waker is None or waker.loop.is_foreign:
        waker = _wakers[hub] = Waker(hub)
    return waker


class Port:
    """Waits for one connection without blocking the hub."""

    __slots__ = ("_connection", "_port", "offer", "receive")

    #: Receives as the engine's ``receive`` does, cooperatively.
    receive: Callable[[float | None], str | bytes | None]
    #: Sends as the engine's ``send`` does, and notes it for this greenlet.
    offer: Callable[[Any, bool | None, str], bool]

    def __init__(self, connection: _engine.Connection, waker: Waker) -> None:
        self._connection = connection
        self._port = port = _engine.LoopPort(
            connection, waker.loop, gevent.get_hub().switch, waker.alarm, gevent.sleep
        )
        self.receive = port.receive
        self.offer = port.offer

    def is_served(self) -> bool:
        """Return whether this greenlet serves only this connection."""
        return sender().serves(self._connection.id)

    def runs_view(self) -> bool:
        """Return False: a view is known by its greenlet."""
        return False

    def turns(self) -> int:
        """Return how often this greenlet has switched between connections."""
        return sender().turns

    def send(
        self, message: Any, binary: bool | None, overflow: str, timeout: float | None
    ) -> bool:
        """Send as the engine's ``send`` does with "block" or "auto", cooperatively."""
        connection = self._connection
        if self._port.is_foreign:
            # A native thread (of gevent's pool, say) may block.
            return connection.send(message, binary, overflow, timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not connection.send(message, binary, "refuse"):
            if connection.ended or connection.close_code is not None:
                return False
            left = None if deadline is None else deadline - time.monotonic()
            if not self._port.wait_for_room(left):
                return connection.send(message, binary, overflow, 0)
        return True


class Handlers:
    """Starts a greenlet whenever there is something for a connection's handlers.

    Args:
        job: The call.
    """

    __slots__ = ("_handled", "_job")

    def __init__(self, job: Job) -> None:
        self._job = job
        self._handled = prepared(job)

    def switch(self) -> None:
        """Switch to a new greenlet, unless one serves the connection; in the hub."""
        if self._handled.claim():
            greenlets.greenlet(self._serve, gevent.get_hub()).switch()

    def _serve(self) -> None:
        endpoint = of(self._job.websocket)
        endpoint.begin(self._job.call.gone_timeout)
        try:
            while self._handled.serve():
                gevent.sleep(0)
        finally:
            endpoint.leave()
            self._close_databases()

    def _close_databases(self) -> None:
        """Close this greenlet's database connections, which no other one can use."""
        variables = self._job.context.variables
        if variables.get(databases.in_use):
            variables.run(databases.in_use.set, False)
            connections.close_all()


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

    place = "greenlet"

    def __init__(self) -> None:
        #: The views that run, by their greenlets.
        self._running: dict[Any, Job] = {}
        #: The connections with handlers, by their ids.
        self._handled: dict[int, Job] = {}

    def event_loop(self) -> _engine.EventLoop:
        """Return the engine's loop of this hub, which reads its sockets."""
        return _waker().loop

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
        """Run the call in a greenlet; handlers, as often as there is something."""
        if not job.is_alone():
            self._handle(job)
            return

        def ended(greenlet: Any) -> None:
            self._running.pop(greenlet, None)
            # A greenlet that was killed before it began has closed nothing.
            job.connection.close(GOING_AWAY, "")

        greenlet = gevent.Greenlet(job.run)
        self._running[greenlet] = job
        greenlet.rawlink(ended)
        greenlet.start()

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""
        deadline = time.monotonic() + timeout
        gevent.joinall(list(self._running), timeout=timeout)
        while self._handled and time.monotonic() < deadline:
            gevent.sleep(_STEP)
        return not (self._running or self._handled)

    def running(self) -> list[Job]:
        """Return the views that run."""
        return [*self._running.values(), *self._handled.values()]

    def _handle(self, job: Job) -> None:
        number, loop = job.connection.id, self.event_loop()
        call: Any = job.call

        def ended() -> None:
            self._handled.pop(number, None)
            loop.forget(number)

        call.ended = ended
        self._handled[number] = job
        loop.handle(number, Handlers(job))


runner = Greenlets()
