"""A process with few descriptors left: ``python descriptorless.py <most>``.

It has no threads but its own, which could take one at the same moment. It prints a line
for each number of descriptors that are left: the number, the handshake's status, the
descriptors that stay behind, and the first bytes that the client gets.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="for a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="tests.urls",
    DWEBSOCKET={"MAX_CONNECTIONS": 99},
)
django.setup()

from dwebsocket import _engine, runners, servers, websocket  # noqa: E402
from tests.python.peer import socket_pair  # noqa: E402
from tests.python.wsgi.test_handoff import environ  # noqa: E402


@websocket
def view(request: Any) -> None:
    request.websocket.wait()


@contextlib.contextmanager
def descriptors(left: int) -> Iterator[None]:
    """Leave this process so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1 + left, hard))
    fillers = []
    try:
        while True:
            filler = os.open(os.devnull, os.O_RDONLY)
            if filler > last:
                os.close(filler)
                break
            fillers.append(filler)
        yield
    finally:
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def count() -> int:
    return len(os.listdir("/proc/self/fd"))


def shake_hands(left: int) -> None:
    server, client = socket_pair()
    request = environ(server)
    before = count()
    with descriptors(left):
        response: Any = view(request)
        status = int(response.status_code)
        if status == 101:
            # Whatever was missing would have been missing before.
            list(response)
    if status == 101:
        print(left, status, 0, client.recv(12), flush=True)
    else:
        word = b"descriptor" if b"descriptor" in response.content else b"?"
        print(left, status, count() - before, word, flush=True)
    response.close()
    server.close()
    client.close()
    assert runners.join(20)
    while _engine.connection_count():
        time.sleep(0.005)


def main() -> None:
    # A process that hangs is to end.
    signal.alarm(50)
    servers._registered[:] = [
        lambda environ: servers.ServerSocket(environ["test.socket"].fileno())
    ]
    # The first time, much is read from files: modules, and what the C library asks.
    for left in (20, 1, 20):
        shake_hands(left)
    for left in range(1, int(sys.argv[1]) + 1):
        shake_hands(left)


if __name__ == "__main__":
    main()
