"""What one test of a WebSocket takes: connect, send, receive, end.

Compared with Django's own test client, which gets a plain page, and with the same test
by Channels' ``WebsocketCommunicator``, which has an environment of its own. The turns
alternate, so that both meet the same machine.

    python3 benches/testing.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
#: Tests of each kind in one turn.
BLOCK = 50


def set_up() -> None:
    """Configure Django, alike for both."""
    import django
    from django.conf import settings
    from django.test.utils import setup_test_environment

    settings.configure(
        SECRET_KEY="only for the benchmark",
        ROOT_URLCONF=sys.modules["__main__"],
        MIDDLEWARE=MIDDLEWARE,
        INSTALLED_APPS=APPS,
        DATABASES={},
    )
    django.setup()
    setup_test_environment()


def package() -> dict[str, Callable[[], None]]:
    """Return the tests with this package."""
    from django.http import HttpRequest, HttpResponse
    from django.test import Client
    from django.urls import path

    from dwebsocket import websocket
    from dwebsocket.testing import connect

    @websocket
    def echo(request: Any) -> None:
        for message in request.websocket:
            request.websocket.send(message)

    def plain(request: HttpRequest) -> HttpResponse:
        return HttpResponse("hello")

    global urlpatterns
    urlpatterns = [path("echo/", echo), path("plain/", plain)]

    def get() -> None:
        assert Client().get("/plain/").content == b"hello"

    def talk() -> None:
        with connect(Client(), "/echo/") as ws:
            ws.send("hello")
            assert ws.receive() == "hello"

    return {"get": get, "talk": talk}


def channels() -> dict[str, Callable[[], None]]:
    """Return the same test with Channels, as a test method of Django runs it."""
    from asgiref.sync import async_to_sync
    from channels.auth import AuthMiddlewareStack
    from channels.generic.websocket import WebsocketConsumer
    from channels.routing import URLRouter
    from channels.testing import WebsocketCommunicator
    from django.urls import path

    class Echo(WebsocketConsumer):
        def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
            self.send(text_data=text_data)

    application = AuthMiddlewareStack(URLRouter([path("echo/", Echo.as_asgi())]))

    @async_to_sync
    async def talk() -> None:
        communicator = WebsocketCommunicator(application, "/echo/")
        connected, _ = await communicator.connect()
        assert connected
        await communicator.send_to(text_data="hello")
        assert await communicator.receive_from() == "hello"
        await communicator.disconnect()

    return {"talk": talk}


def work(kind: str) -> None:
    """Run a block of tests for each line that comes in, and print the seconds."""
    set_up()
    tests = {"package": package, "channels": channels}[kind]()
    for test in tests.values():
        test()
    print("{}", flush=True)
    for _ in sys.stdin:
        taken = {}
        for name, test in tests.items():
            times = []
            for _ in range(BLOCK):
                began = time.perf_counter()
                test()
                times.append(time.perf_counter() - began)
            # Other work of the machine makes a few of them much longer.
            taken[name] = statistics.median(times)
        print(json.dumps(taken), flush=True)


class Worker:
    """A process that runs one side's tests."""

    def __init__(self, interpreter: Path | str, kind: str) -> None:
        self._process = subprocess.Popen(
            [str(interpreter), __file__, "--work", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a worker has ended")
        found: dict[str, float] = json.loads(line)
        return found

    def turn(self) -> dict[str, float]:
        """Run one block; return the seconds of each test."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    """Measure and print."""
    import common

    arguments = common.parser(__doc__, pins=False)
    arguments.add_argument("--turns", type=int, default=10)
    arguments.add_argument(
        "--here", action="store_true", help="use the package of this interpreter"
    )
    options = arguments.parse_args()
    pins = common.HERE / "peers" / "versions.txt"
    wanted = ["--constraint", str(pins), "channels", "daphne", "Django"]
    theirs = common.environment("testing-channels", options.python, wanted)
    ours = sys.executable if options.here else common.new_environment(options.python)
    workers = Worker(ours, "package"), Worker(theirs, "channels")
    turns = []
    for _ in range(options.turns):
        mine, other = (worker.turn() for worker in workers)
        turns.append((mine["get"], mine["talk"], other["talk"]))
    for worker in workers:
        worker.stop()
    get, talk, other = (
        statistics.median(times) * 1000 for times in zip(*turns, strict=True)
    )
    beyond = statistics.median(mine - plain for plain, mine, _ in turns) * 1000
    ratio = statistics.median(other / mine for _, mine, other in turns)
    common.table(
        ["one test", "ms"],
        [
            ["client.get() of a plain page", f"{get:.2f}"],
            ["dwebsocket.testing: connect, send, receive, end", f"{talk:.2f}"],
            ["  beyond client.get() (target: 5)", f"{beyond:.2f}"],
            ["Channels' WebsocketCommunicator: the same", f"{other:.2f}"],
            ["  as a multiple of ours (target: more than 1)", f"{ratio:.1f}"],
        ],
    )


urlpatterns: list[Any] = []

if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
    else:
        main()
