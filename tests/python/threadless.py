"""A process with few threads left: ``python threadless.py <threads> [all]``.

As another user than root, whom RLIMIT_NPROC does not hold. It prints a line for each of
six handshakes: status, descriptors and threads gained. With "all", MAX_CONNECTIONS does
not keep views from the last threads.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="for a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="tests.urls",
    # The file of the figures has descriptors for as long as the process lives.
    DWEBSOCKET={"MONITOR_DIRECTORY": False},
)
django.setup()

from dwebsocket import servers, websocket  # noqa: E402
from dwebsocket.context import RequestContext  # noqa: E402
from dwebsocket.process import capacity, exit  # noqa: E402
from tests.python.peer import socket_pair  # noqa: E402
from tests.python.wsgi.test_handoff import environ  # noqa: E402

#: Nobody else's.
USER = 1_234_567_000 + os.getpid()


@websocket
def view(request: Any) -> None:
    request.websocket.receive()


def count(what: str) -> int:
    return len(os.listdir(f"/proc/self/{what}"))


def try_handshakes(threads: int) -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))
    os.setgid(USER)
    os.setuid(USER)
    kept = []
    for _ in range(6):
        files, tasks = count("fd"), count("task")
        server, client = socket_pair()
        response: Any = view(environ(server))
        status = response.status_code
        if status == 101:
            list(response)
            assert client.recv(12) == b"HTTP/1.1 101"
            kept.append(client)
        else:
            assert response.headers["Retry-After"]
            assert b"thread" in response.content
            client.close()
        server.close()
        del response
        gained = count("fd") - files, count("task") - tasks
        print(int(status), *gained, flush=True)
    exit.stop()
    print("stopped", flush=True)


def main() -> None:
    # A process that hangs is to end, and not by the interpreter, which may be locked.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(60)
    servers._registered[:] = [
        lambda environ: servers.ServerSocket(environ["test.socket"].fileno())
    ]
    capacity._AGE = 0.0
    if "all" in sys.argv:
        capacity.views = lambda: capacity.UNLIMITED
    # What is imported late could not be read by that user.
    "x".encode("unicode_escape")
    RequestContext()
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) and 1)
    signal.alarm(50)
    try:
        try_handshakes(int(sys.argv[1]))
    finally:
        import traceback

        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(bool(sys.exc_info()[0]))


if __name__ == "__main__":
    main()
