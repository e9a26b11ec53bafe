"""An example as a child process, on one of the servers that it says it runs on."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.logs import without_interrupts
from tests.servers.client import WsClient

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: Seconds for anything that takes none on a machine with nothing else to do.
PATIENCE = 20.0

GUNICORN = "-m gunicorn --bind 127.0.0.1:{port} --graceful-timeout 5"
#: The arguments for Python, with {script} or {wsgi} as the example has them.
SERVERS = {
    "runserver": "{script} runserver --noreload 127.0.0.1:{port}",
    "runserver-reload": "{script} runserver 127.0.0.1:{port}",
    "gunicorn-sync": f"{GUNICORN} --worker-class=sync {{wsgi}}",
    "gunicorn-gthread": f"{GUNICORN} --worker-class=gthread --threads=2 {{wsgi}}",
    "gunicorn-gevent": f"{GUNICORN} --worker-class=gevent {{wsgi}}",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Example:
    """A running example.

    Args:
        folder: Where it is, below examples/.
        script: What ``runserver`` is an argument of.
        wsgi: The module with the application, for other servers.
        log: The file for the server's output.
        server: A key of :data:`SERVERS`.
    """

    def __init__(
        self, folder: str, script: str, wsgi: str, log: Path, server: str = "runserver"
    ) -> None:
        self.server = server
        self.port = free_port()
        command = SERVERS[server].format(script=script, wsgi=wsgi, port=self.port)
        self.command = [sys.executable, *command.split()]
        self.folder = EXAMPLES / folder
        self.log = log
        self._clients = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def start(self) -> Example:
        """Start it, the second time on the port of the first; wait for its answer."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name != "DJANGO_SETTINGS_MODULE"  # that of the tests
        }
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            # Of a shell that started pytest in the background; children inherit it.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                code = self._process.poll()
                if code is not None or time.monotonic() > deadline:
                    self.kill()
                    raise AssertionError(
                        f"not started ({code}): {self.output()}"
                    ) from None
                time.sleep(0.02)  # not listening yet: no event tells

    def stop(self) -> int:
        """End it as its users do; return its exit code.

        That is by Ctrl-C, which every process gets, or as a service.
        """
        assert self._process is not None
        if self.server.startswith("runserver"):
            os.killpg(self._process.pid, signal.SIGINT)
        else:
            self._process.terminate()
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """End it, and its children, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
        self._clients.close()

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a page."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        ) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def reset_one(self, path: str, first_words: str) -> None:
        """Open a WebSocket, have an answer, and vanish with a TCP reset."""
        client = WsClient(("127.0.0.1", self.port))
        client.open(path)
        client.send(first_words)
        client.receive()
        client.reset()

    def output(self) -> str:
        """Return what it has written."""
        return without_interrupts(self.log.read_text(errors="replace"))

    def connect(self, path: str) -> ClientConnection:
        """Return an open WebSocket, as a page of the example would have it."""
        return self._clients.enter_context(
            connect(
                f"ws://{self.host}{path}",
                origin=Origin(self.url),
                open_timeout=PATIENCE,
                close_timeout=PATIENCE,
                max_queue=None,  # so that it notices the end whatever was left unread
            )
        )
