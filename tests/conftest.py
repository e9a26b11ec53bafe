"""Fixtures that the tests share: a live site, and a WebSocket with its peer."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest

from dwebsocket import _engine, runners
from dwebsocket.hub import connecting
from dwebsocket.process import databases
from tests.python.live import Site
from tests.python.peer import Peer, open_pair

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()
# Mark this process as a server's: push does not warn that it has no connections.
connecting.note_server(False)


@pytest.fixture(autouse=True)
def no_databases_in_use() -> None:
    """Forget the database connections of earlier tests in this thread."""
    databases.begin()


@pytest.fixture(autouse=True)
def no_views_of_earlier_tests() -> None:
    """Wait for views that still end: they would log, and call what a test replaces."""
    runners.join(10)


@pytest.fixture
def quiet() -> int:
    """Wait until the connections of earlier tests have ended; return how many stay."""
    # Collecting a response that was never closed frees its connection's place.
    gc.collect()
    deadline = time.monotonic() + 10
    while (count := _engine.connection_count()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return count


@pytest.fixture
def site() -> Iterator[Callable[..., Site]]:
    """Return a function that serves views by path on a real server, in this process."""
    sites: list[Site] = []

    def start(views: dict[str, Any], **settings: Any) -> Site:
        sites.append(Site(views, settings))
        return sites[-1]

    yield start
    for running in sites:
        running.stop()


@pytest.fixture
def pair() -> Iterator[Callable[..., tuple[Any, Peer]]]:
    """Return a function that opens a WebSocket and returns both of its ends."""
    peers: list[Peer] = []
    before = _engine.connection_count()

    def start(**options: Any) -> tuple[Any, Peer]:
        websocket, peer = open_pair(**options)
        peers.append(peer)
        return websocket, peer

    yield start
    for peer in peers:
        peer.drop()
    # A later test must not find them in a group, or as a user's.
    deadline = time.monotonic() + 1
    while _engine.connection_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)
