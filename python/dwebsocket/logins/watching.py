"""The watcher: checks the logins of open connections from time to time.

The watcher is one thread (under gevent, a greenlet) of the process, which runs while
there are connections to watch. All checks share its database connection, which is
closed after each round; thousands of waiting views would need one connection each.
"""

from __future__ import annotations

import heapq
import logging
import os
import threading
import time

from django.db import Error as DatabaseError
from django.db import connections

from dwebsocket import context
from dwebsocket.context import RequestContext

from . import rights

__all__ = ("Watch", "Watcher", "watcher")

logger = logging.getLogger("dwebsocket.users")

#: Seconds between two rounds: checks that are due at about the same time share one.
ROUND = 0.5
#: Seconds until the first check. It finds a login that has ended right after the
#: handshake, before the broker knew that this process wants to be told.
FIRST = 5.0
#: Seconds after which a doubtful end of a login is checked again.
SOON = 1.0
#: Seconds after which a failed check is made again.
AGAIN = 5.0
#: After this many database errors in a row, the rest of a round is put off.
_REFUSALS = 3


class Watch:
    """One connection that is watched.

    Args:
        found: The login that it was opened with.
        interval: Seconds between two checks.
    """

    __slots__ = ("context", "due", "found", "interval")

    def __init__(self, found: rights.Rights, interval: float) -> None:
        self.found = found
        self.interval = interval
        self.due = time.monotonic() + min(interval, FIRST)
        # The check runs with the state of the view's thread (language, time zone, ...).
        self.context = RequestContext()


class Watcher:
    """Checks each connection when it is due."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state: a forked child has neither the thread nor connections."""
        self._changed = threading.Condition(threading.Lock())
        self._watches: dict[int, Watch] = {}
        self._queue: list[tuple[float, int]] = []
        self._thread: threading.Thread | None = None

    def is_busy(self) -> bool:
        """Return whether there is a connection to watch."""
        return bool(self._watches)

    def add(self, watch: Watch) -> None:
        """Watch a connection; replace its watch if it is watched already."""
        number = watch.found.connection.id
        with self._changed:
            self._watches[number] = watch
            heapq.heappush(self._queue, (watch.due, number))
            if self._thread is None or not self._thread.is_alive():
                self._start()
            elif self._queue[0][1] == number:
                self._changed.notify_all()

    def remove(self, number: int) -> None:
        """Stop watching a connection."""
        with self._changed:
            if self._watches.pop(number, None) and not self._watches:
                self._queue.clear()
                self._changed.notify_all()

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, name="websocket-watcher", daemon=True
        )
        self._thread = thread
        try:
            thread.start()
        except RuntimeError as error:
            # No thread is left; the next connection tries again.
            self._thread = None
            rights.trouble.note(error)

    def _run(self) -> None:
        while True:
            due = self._wait()
            if not due:
                return
            try:
                self._check_all(due)
            except Exception:
                logger.exception("Error in the watcher of open WebSockets")
            finally:
                connections.close_all()
            time.sleep(ROUND)

    def _wait(self) -> list[Watch]:
        """Wait for due checks and return them; an empty list: the thread must end."""
        with self._changed:
            while self._watches:
                now = time.monotonic()
                found = self._take(now)
                if found:
                    return found
                self._changed.wait(self._queue[0][0] - now if self._queue else AGAIN)
            self._thread = None
            return []

    def _take(self, now: float) -> list[Watch]:
        found = []
        while self._queue and self._queue[0][0] <= now:
            due, number = heapq.heappop(self._queue)
            watch = self._watches.get(number)
            # Skip the old entry of a connection whose watch was replaced meanwhile.
            if watch is not None and watch.due == due:
                found.append(watch)
        return found

    def _check_all(self, watches: list[Watch]) -> None:
        refused = 0
        for watch in watches:
            found, later = watch.found, watch.interval
            if refused >= _REFUSALS:
                # Sooner than the failed ones, which would otherwise always come first.
                later = min(later, AGAIN / 2)
            elif not found.connection.ended:
                try:
                    if watch.context.run(_check, found):
                        later = SOON
                    refused = 0
                except Exception as error:
                    rights.trouble.note(error)
                    refused += isinstance(error, DatabaseError)
                    later = min(later, AGAIN)
                    connections.close_all()  # the connection may be broken
            self._again(watch, later)

    def _again(self, watch: Watch, later: float) -> None:
        number = watch.found.connection.id
        with self._changed:
            if self._watches.get(number) is watch:
                watch.due = time.monotonic() + later
                heapq.heappush(self._queue, (watch.due, number))


def _check(found: rights.Rights) -> bool:
    """Check a login, and hang up if it has ended; True: check again soon."""
    if found.over:
        return False
    if all(hasattr(thing, "__enter__") for thing in found.carried):
        error = _ask(found)
    else:
        error = _ask_in_a_thread(found)
    if isinstance(error, rights.Revoked):
        if error.doubtful and not found.doubted:
            found.doubted = True
            return True
        rights.hang_up(found, error)
    elif error is not None:
        raise error
    else:
        found.doubted = False
        rights.trouble.over()
    return False


def _ask(found: rights.Rights) -> Exception | None:
    """Check with the state of the project's hooks; return the exception, if any.

    The exception is not raised through the hooks' context managers: one that has no
    ``finally`` still cleans up.
    """
    with context.applied(context.again(found.carried)):
        try:
            found.check()
        except Exception as error:
            return error
    return None


def _ask_in_a_thread(found: rights.Rights) -> Exception | None:
    """Do as :func:`_ask` does, in a thread of its own, where a hook is a function.

    The state that such a function sets is never taken back. In the watcher's thread,
    the checks of other connections would get that state, too.
    """
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            outcome.append(_ask(found))
        except Exception as error:
            outcome.append(error)
        finally:
            connections.close_all()

    snapshot = RequestContext()
    thread = threading.Thread(
        target=snapshot.run, args=(ask,), name="websocket-watcher-check", daemon=True
    )
    thread.start()
    thread.join()
    return outcome[0]


watcher = Watcher()
os.register_at_fork(after_in_child=watcher.forget)
