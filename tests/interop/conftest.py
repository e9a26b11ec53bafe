"""gunicorn with the site, nginx before it, and the Rust client."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.harness import ROOT, Server
from tests.servers.specs import Spec, gunicorn, uwsgi

from . import clients
from .chromium import Browser, Chromium, executable
from .nginx import Nginx


def site_spec() -> Spec:
    """Return gunicorn with threads and this package's site."""
    spec = gunicorn("gthread", "--threads", "4")

    def argv(python: str, address: str | tuple[str, int]) -> list[str]:
        words = spec.argv(python, address)
        words[words.index("tests.servers.site.wsgi")] = "tests.interop.site"
        return words

    return spec._replace(argv=argv)


def uwsgi_spec() -> Spec:
    """Return uWSGI with its own protocol and this package's site."""
    spec = uwsgi("--socket", "ADDRESS", "--enable-threads")

    def argv(python: str, address: str | tuple[str, int]) -> list[str]:
        words = spec.argv(python, address)
        words[words.index("tests.servers.site.wsgi")] = "tests.interop.site"
        return words

    return spec._replace(argv=argv)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the site with gunicorn."""
    server = Server(site_spec(), tmp_path_factory.mktemp("gunicorn"))
    server.start()
    yield server
    errors = server.errors()
    server.kill()
    assert errors == []


@pytest.fixture(scope="session")
def nginx(site: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Run nginx before the site."""
    proxy = Nginx(site.address, tmp_path_factory.mktemp("nginx"))
    proxy.start()
    yield proxy
    proxy.stop()
    assert proxy.errors() == []


@pytest.fixture(scope="session")
def tungstenite() -> None:
    """Build the Rust client."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("cargo is not installed")
    built = subprocess.run(
        [cargo, "build", "--locked", "--no-default-features", "--example", "interop"]
        + ["--message-format", "json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=900,
    )
    for line in built.stdout.splitlines():
        artifact = json.loads(line)
        if artifact.get("executable") and artifact["target"]["name"] == "interop":
            clients.Tungstenite.program = artifact["executable"]
    assert Path(clients.Tungstenite.program).is_file()


@pytest.fixture(scope="session")
def chromium() -> Iterator[None]:
    """Start the browser."""
    if executable() is None:
        pytest.skip("Chromium is not installed")
    Chromium.browser = Browser()
    yield
    Chromium.browser.stop()
