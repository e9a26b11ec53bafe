"""nginx with the configuration that docs/deploy-nginx.md prints."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.servers.client import Address
from tests.servers.harness import ROOT, free_port

#: What nginx needs to run without a system around it, in one directory.
_MAIN = """
daemon off;
master_process on;
worker_processes 1;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log notice;
events {{ worker_connections 256; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{site}
}}
"""


def printed(page: str = "deploy-nginx.md") -> list[str]:
    """Return the configurations that a page of the documentation prints."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"^```nginx\n(.*?)^```", text, re.M | re.S)


def replaced(text: str, old: str, new: str) -> str:
    """Replace what the documentation surely has."""
    assert old in text, f"the documentation has no {old!r}"
    return text.replace(old, new)


class Nginx:
    """A running nginx.

    Args:
        upstream: The address of the site.
        directory: Where everything of it goes.
        tls: Whether to listen with TLS too.
        uwsgi: Whether to use the configuration for uWSGI's own protocol.
        changes: More replacements in the configuration.
    """

    def __init__(
        self,
        upstream: Address,
        directory: Path,
        *,
        tls: bool = False,
        uwsgi: bool = False,
        changes: dict[str, str] | None = None,
    ) -> None:
        self._upstream = "{}:{}".format(*upstream)
        self._directory = directory
        self._tls = tls
        self._uwsgi = uwsgi
        self._changes = changes or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.tls_port = 0
        self.certificate = directory / "cert.pem"

    def _site(self) -> str:
        site, tls, static = printed()
        site = replaced(site, "    server_name", f"{static}    server_name")
        if self._uwsgi:
            (site,) = printed("servers.md")
            site = replaced(site, "uwsgi_params", "/etc/nginx/uwsgi_params")
        self.port, self.tls_port = free_port(), free_port()
        site = replaced(site, "127.0.0.1:8001", self._upstream)
        site = replaced(site, "listen 80;", f"listen 127.0.0.1:{self.port};")
        for old, new in self._changes.items():
            site = replaced(site, old, new)
        if self._tls:
            key = self._directory / "key.pem"
            self._certify(key)
            tls = replaced(tls, "listen 443 ", f"listen 127.0.0.1:{self.tls_port} ")
            tls = replaced(tls, "/etc/ssl/example.com.pem", str(self.certificate))
            tls = replaced(tls, "/etc/ssl/example.com.key", str(key))
            site = replaced(site, "    server_name", f"{tls}    server_name")
        return site

    def _certify(self, key: Path) -> None:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
            + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
            + ["-keyout", str(key), "-out", str(self.certificate)],
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start it and wait until it answers; again where a port was taken."""
        program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if program is None:
            pytest.skip("nginx is not installed")
        for _ in range(4):
            config = self._directory / "nginx.conf"
            user = "user root;" if os.geteuid() == 0 else ""
            config.write_text(
                _MAIN.format(directory=self._directory, user=user, site=self._site())
            )
            self._process = subprocess.Popen(
                [program, "-p", str(self._directory), "-c", str(config)]
                + ["-e", str(self._directory / "error.log")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if self._answers():
                return
            self.stop()
        raise AssertionError(self.log())

    def _answers(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                time.sleep(0.02)  # not listening yet: no event tells
        return False

    def log(self) -> str:
        """Return its error log."""
        return (self._directory / "error.log").read_text()

    def errors(self) -> list[str]:
        """Return the lines of its log that are about something wrong."""
        return [line for line in self.log().splitlines() if "[notice]" not in line]

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
