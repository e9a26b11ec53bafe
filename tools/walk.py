"""Lists the files of the package that three walks enter: python tools/walk.py.

The walks are an opening handshake (from the request to the view's first ``wait()``), an
incoming message (the ``wait()`` that returns it) and a group's ``send()``, under
gunicorn with threads. The handshake is the second one, because the first one also
starts the engine and reads the settings. The engine's files are not traced.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="for a walk", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__
    )

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest
from django.urls import path

import dwebsocket
from dwebsocket import hub, websocket

ROOT = Path(dwebsocket.__file__).parent
WALKS = ("handshake", "message", "send")

entered: dict[str, set[str]] = {}
#: The walk that each thread is on.
walking = threading.local()


def trace(frame: FrameType, event: str, argument: Any) -> None:
    """Record the file of a function that is called."""
    code = frame.f_code
    if code.co_filename.startswith(f"{ROOT}/") and code.co_name != "<module>":
        name = getattr(walking, "name", "handshake")
        if name:
            file = str(Path(code.co_filename).relative_to(ROOT))
            entered.setdefault(name, set()).add(file)


@websocket
def view(request: HttpRequest) -> None:
    """Wait, send to a group, and send the client the files of each walk."""
    ws: Any = request.websocket  # type: ignore[attr-defined]
    walking.name = ""
    ws.join("walk")
    # The wait() that returns the client's first message is the second walk.
    walking.name = "message"
    ws.wait()
    walking.name = "send"
    hub.group("walk").send("from the group")
    walking.name = ""
    sys.settrace(None)
    ws.wait()
    ws.send_json({name: sorted(files) for name, files in entered.items()})


urlpatterns = [path("", view)]
_django: Callable[..., Iterable[bytes]] = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Serve a request whose thread, and the threads that it starts, are traced."""
    entered.clear()
    walking.name = "handshake"
    threading.settrace(trace)
    sys.settrace(trace)
    return _django(environ, start_response)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _connect(port: int) -> Any:
    from websockets.sync.client import connect

    return connect(f"ws://127.0.0.1:{port}/", proxy=None)


def _converse(port: int) -> dict[str, list[str]]:
    with _connect(port) as client:
        client.send("hello")
        assert client.recv(20) == "from the group"
        client.send("tell")
        found: dict[str, list[str]] = json.loads(client.recv(20))
        return found


def _serve(port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--threads", "2", "--log-level", "error"]
    here = Path(__file__)
    return subprocess.Popen([*command, "--chdir", str(here.parent), here.stem])


def main() -> None:
    """Print the files of each walk."""
    port = _free_port()
    server = _serve(port)
    try:
        _await(port)
        # Both are open at a time: the thread of a view that has ended is used again,
        # and is not traced then.
        with _connect(port) as first:
            first.send("hello")
            # The other client is not in the group yet, and gets its own message only.
            assert first.recv(20) == "from the group"
            found = _converse(port)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    for name in WALKS:
        files = found.get(name, [])
        print(f"{name}: {len(files)}")
        for file in files:
            print(f"  {file}")


def _await(port: int) -> None:
    import time

    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
