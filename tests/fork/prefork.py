"""A server on a port of its own, which forks on SIGUSR1 and ends on SIGTERM.

Every process, the first and the forked ones, reports its id and its port.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from tests.servers.site.report import tell
from tests.servers.site.wsgi import application

SIGNALS = {signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD}


class Handler(WSGIRequestHandler):
    """Writes no access log."""

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


def serve() -> int:
    """Serve in a thread; return the port."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.set_app(application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_port)


def main(key: str) -> None:
    """Serve until SIGTERM."""
    # Before there are threads, so that they all leave these signals to sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    # Newer interpreters warn of exactly what is done here on purpose.
    warnings.simplefilter("ignore", DeprecationWarning)
    tell(key, "serving", [os.getpid(), serve()])
    while True:
        received = signal.sigwait(SIGNALS)
        if received == signal.SIGTERM:
            return
        if received == signal.SIGUSR1:
            if os.fork() == 0:
                tell(key, "serving", [os.getpid(), serve()])
            continue
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                status = os.waitstatus_to_exitcode(found[1])
                tell(key, "ended", [found[0], status])
        except ChildProcessError:
            continue


if __name__ == "__main__":
    main(sys.argv[1])
