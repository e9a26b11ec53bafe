"""Brokers whose connections are encrypted, with certificates of the test's own."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.servers.harness import PYTHON, ROOT
from tests.servers.nats import Nats
from tests.servers.redis import Redis

#: Says what became of a message, with a history and without.
PUBLISH = """
import os, django
from django.conf import settings
settings.configure(DWEBSOCKET={
    "BROKER": os.environ["BROKER"], "GROUPS": {"kept": {"history": 10, "ttl": 60}},
})
django.setup()
from dwebsocket import push
print(*(push.to_group(name, "hello").broker for name in ("kept", "plain")))
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the certificates of an authority and of a server."""
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    server = authority.issue_cert("localhost")
    server.private_key_pem.write_to_path(str(directory / "key.pem"))
    server.cert_chain_pems[0].write_to_path(str(directory / "server.pem"))
    return directory


class Tunnel:
    """Takes encrypted connections and passes them on to a server that has no TLS."""

    def __init__(self, port: int, authority: Path) -> None:
        self._to = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(authority / "server.pem", authority / "key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            return
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            # The answers, in a thread of their own; it ends with the server's side.
            answers = threading.Thread(target=self._pump, args=[server, client])
            answers.start()
            self._pump(client, server)
            server.shutdown(socket.SHUT_RDWR)
            answers.join()

    @staticmethod
    def _pump(source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                to.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


@pytest.fixture(params=["redis", "nats"])
def url(request: pytest.FixtureRequest, authority: Path) -> Iterator[str]:
    """Return the URL of a broker that speaks TLS."""
    if request.param == "redis":
        # The Redis of the tests has been built without it.
        redis = Redis()
        tunnel = Tunnel(redis.port, authority)
        yield f"rediss://localhost:{tunnel.port}/0"
        tunnel.close()
        redis.close()
    else:

        class Secure(Nats):
            more = (
                f'tls {{ cert_file: "{authority}/server.pem", '
                f'key_file: "{authority}/key.pem" }}\n'
            )

        nats = Secure()
        yield f"tls://localhost:{nats.port}"
        nats.close()


@pytest.fixture
def publish(url: str) -> Callable[[Path | None], subprocess.CompletedProcess[str]]:
    """Return a function that publishes from a process which trusts a file."""

    def run(trusted: Path | None) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if "SSL" not in name}
        if trusted is not None:
            env["SSL_CERT_FILE"] = str(trusted)
        return subprocess.run(
            [PYTHON, "-c", PUBLISH],
            env={**env, "BROKER": url},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )

    return run


def test_messages_go_over_tls(publish, authority: Path):
    assert publish(authority / "authority.pem").stdout.split() == ["stored", "sent"]


def test_a_server_that_nobody_vouches_for_is_not_talked_to(publish):
    done = publish(None)
    assert done.stdout.split() == ["pending", "unavailable"]
    assert "certificate" in done.stderr.lower()
