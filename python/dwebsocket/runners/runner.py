"""What runs views: threads, or greenlets where gevent has patched them."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from dwebsocket import _engine
from dwebsocket.context import RequestContext
from dwebsocket.process import exit
from dwebsocket.process.gevent import is_patched
from dwebsocket.process.reporting import shown
from dwebsocket.websocket import WebSocket
from dwebsocket.websocket.port import Port

from . import threads
from .call import Call, Job, give_up

__all__ = ("Runner", "Seat", "join", "kind", "start")

logger = logging.getLogger("dwebsocket.view")


class Seat(Protocol):
    """What a view runs in, reserved before the handshake is answered."""

    def run(self, job: Job) -> None:
        """Run the call; return at once."""

    def cancel(self) -> None:
        """Give the seat back, unless it runs a call; idempotent."""


class Runner(Protocol):
    """Runs each view apart from the server's threads, which answer requests."""

    def wake_queue(self) -> _engine.WakeQueue | None:
        """Return where the engine reports ready connections; None: threads block."""

    def port(self, connection: _engine.Connection) -> Port | None:
        """Return how a connection's WebSocket waits; None: by blocking the thread."""

    def reserve(self) -> Seat:
        """Return a place for one view.

        Raises:
            RuntimeError: The system has no thread left.
        """

    def join(self, timeout: float) -> bool:
        """Wait until every view has ended; return whether that was in time."""


#: Those that have run a view, or may have.
_runners: list[Runner] = [threads.runner]


def kind() -> Runner:
    """Return the runner: greenlets where gevent has patched threads."""
    if not is_patched():
        return threads.runner
    # Imported where there is gevent.
    from . import greenlets

    if greenlets.runner not in _runners:
        _runners.append(greenlets.runner)
    return greenlets.runner


def join(timeout: float) -> bool:
    """Wait until every view has ended; return whether that was within the time."""
    deadline = time.monotonic() + timeout
    ended = [runner.join(max(deadline - time.monotonic(), 0.0)) for runner in _runners]
    return all(ended)


exit.let_end(join)


def start(
    context: RequestContext, call: Call, websocket: WebSocket, runner: Runner
) -> None:
    """Run a view; close the WebSocket where that is not possible."""
    connection = websocket._connection
    try:
        runner.reserve().run(Job(context, call, websocket, connection))
    except RuntimeError:
        connection.close(1013, "try again later")
        path = shown(call.request.path)
        logger.exception("No thread for the WebSocket view of %s", path)
    except Exception:
        give_up(connection, call.request)
