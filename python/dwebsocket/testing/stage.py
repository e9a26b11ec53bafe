"""Takes turns: either the test runs, or one of its views.

A test would otherwise race with its views: it would look at the database before a view
has written its last row. So a view comes back from ``wait()`` only while the test is
inside a call of a client (``receive()``, say), one view at a time; and such a call
returns only when every view rests again: it waits for a message, or has ended.

A view that neither rests nor works (it sleeps, or waits for another thread) is overdue
after a moment: nobody waits for it longer. The exception is a view inside of
``atomic()`` on a database connection that it shares with the test.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ("SLICE", "Actor", "Clock", "Line", "Stage", "current")

#: Seconds between two looks at what the views do.
SLICE = 0.005
#: Seconds for which the test does not read what a view sends that has the turn.
_BRIEF = 0.001
#: After so many looks at which a view neither rested nor worked, the view is overdue.
PATIENCE = 20


class Line(Protocol):
    """A client's end of a connection, which the stage reads."""

    over: bool

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def events(self) -> int:
        """Return the events to poll for."""

    def transfer(self) -> None:
        """Read and write what is possible without waiting."""


class Actor(Protocol):
    """A view, as the stage sees it."""

    #: At how many looks in a row the view neither rested nor worked.
    idle: int
    #: Whether the view has the turn.
    running: bool
    #: Whether the view takes no turns any more: nobody waits for it.
    free: bool

    def rests(self) -> bool:
        """Return whether the view waits for a message that it has not been sent."""

    def is_heard(self) -> bool:
        """Return whether all that was sent to the client is on its way."""

    def worked(self) -> bool:
        """Return whether the view's thread has computed much since the last call."""

    def in_transaction(self) -> bool:
        """Return whether the view has entered ``atomic()`` on a shared connection."""


class Clock:
    """Measures a time limit without the moments when the machine was stopped.

    Args:
        limit: Seconds; None: no limit.
    """

    __slots__ = ("_last", "_left")

    def __init__(self, limit: float | None) -> None:
        self._left = limit
        self._last = time.monotonic()

    def is_over(self) -> bool:
        """Return whether the time is over; call this at least once each slice."""
        if self._left is None:
            return False
        now = time.monotonic()
        # A gap much longer than a slice was no time in which the views could work.
        self._left -= min(now - self._last, SLICE * 4)
        self._last = now
        return self._left <= 0

    def pause(self) -> float:
        """Return the length of the next slice, in seconds."""
        return SLICE if self._left is None else max(min(SLICE, self._left), 0.0)


class Stage:
    """The clients and the views of one test, and whose turn it is."""

    def __init__(self) -> None:
        #: Guards everything here; notified of each change.
        self.changed = threading.Condition(threading.Lock())
        self._lines: list[Line] = []
        self._actors: list[Actor] = []
        #: How many threads of the test are inside a call of a client.
        self._inside = 0
        #: How often a thread of the test has looked at its views.
        self._looks = 0
        #: When it was last noted which views are idle.
        self._noted = 0.0
        self._polling = False
        #: Ends a poll; open while there are clients.
        self._wake = -1

    def add(self, line: Line, actor: Actor) -> None:
        """Let a client and its view take part."""
        with self.changed:
            if not self._lines:
                self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._lines.append(line)
            self._actors.append(actor)

    def remove(self, line: Line, actor: Actor) -> None:
        """Forget a client and its view."""
        with self.changed:
            self._lines.remove(line)
            self._actors.remove(actor)
            if not self._lines:
                os.close(self._wake)

    # The test.

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Let the views take turns during the block."""
        with self.changed:
            self._inside += 1
            self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                self._inside -= 1
                self.changed.notify_all()

    def until(self, reached: Callable[[], bool], limit: float | None) -> bool:
        """Read the clients and let the views work until a condition holds.

        Args:
            reached: The condition; called with the lock held.
            limit: Seconds; None: no limit.

        Returns:
            Whether the condition holds.
        """
        clock = Clock(limit)
        with self.changed:
            while True:
                self._looks += 1
                if reached():
                    return True
                if clock.is_over():
                    return False
                self.changed.notify_all()
                self._pass(clock.pause())

    def settled(self) -> bool:
        """Return whether every view rests, has ended, or is overdue."""
        return all(
            actor.free or actor.rests() or _is_overdue(actor) for actor in self._actors
        )

    def heard(self) -> bool:
        """Return whether the clients have all that was sent to them.

        A single client reads when it is asked to: its view waits for it.
        """
        return len(self._actors) < 2 or all(actor.is_heard() for actor in self._actors)

    def _pass(self, seconds: float) -> None:
        """Wait for a change: with the sockets, unless another thread has them."""
        if self._polling:
            self.changed.wait(seconds)
            return
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        ready = []
        if not self.settled():
            # The view soon gives its turn back. To read what it sends meanwhile would
            # only make two threads ask for the interpreter.
            ready = self._poll(poll, min(seconds, _BRIEF))
        lines = {line.fileno(): line for line in self._lines if not line.over}
        if not ready:
            for number, line in lines.items():
                poll.register(number, line.events())
            ready = self._poll(poll, seconds)
        if not ready or time.monotonic() - self._noted >= SLICE:
            self._note_idle(bool(ready))
        for number, _ in ready:
            if number == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            else:
                lines[number].transfer()
        self.changed.notify_all()

    def _poll(self, poll: select.poll, seconds: float) -> list[tuple[int, int]]:
        """Wait without the lock."""
        self._polling = True
        self.changed.release()
        try:
            return poll.poll(seconds * 1000)
        finally:
            self.changed.acquire()
            self._polling = False

    def _note_idle(self, busy: bool) -> None:
        # A view that sends now and then, and sleeps, is idle all the same. But one
        # whose large message the client still reads is not.
        self._noted = time.monotonic()
        for actor in self._actors:
            if actor.rests():
                actor.idle = 0
            elif not (
                (actor.running and actor.worked()) or (busy and not actor.is_heard())
            ):
                actor.idle += 1

    # The views.

    def rest(self, actor: Actor, glance: bool = False) -> None:
        """Give the turn back: the view waits for a message.

        Args:
            actor: The view.
            glance: The view goes on at once: let the test look at the view first.
        """
        with self.changed:
            actor.running = False
            self.poke()
            looks = self._looks
            if glance and self._inside and not actor.free:
                self.changed.wait_for(lambda: self._looks != looks, SLICE)

    def enter(self, actor: Actor) -> None:
        """Wait for the view's turn."""
        with self.changed:
            while not (actor.free or self._may_run(actor)):
                self.changed.wait()
            actor.idle = 0
            actor.running = True

    def _may_run(self, actor: Actor) -> bool:
        return self._inside > 0 and not any(
            other.running and other is not actor and not _is_overdue(other)
            for other in self._actors
        )

    def poke(self) -> None:
        """Have the test look again; call this with the lock held."""
        if self._polling:
            os.eventfd_write(self._wake, 1)
        self.changed.notify_all()


def _is_overdue(actor: Actor) -> bool:
    return actor.idle >= PATIENCE and not actor.in_transaction()


class _Stages(threading.local):
    """The stage of each thread that has clients."""

    def __init__(self) -> None:
        self.mine = Stage()


_stages = _Stages()


def current() -> Stage:
    """Return the stage of the calling thread."""
    return _stages.mine
