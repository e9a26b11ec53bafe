"""The pytest plugin of dwebsocket: fixtures for tests of WebSocket views.

It needs pytest-django, and imports nothing of Django or of dwebsocket before a test
asks for a fixture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dwebsocket.testing import ClientWebSocket, aconnect

__all__ = ()

_MARKER = "websocket_may_outlive"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}: views of WebSockets may run on after their clients have left.",
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Apply the marker to a test; afterwards, leave nothing to the next test."""
    marked = item.get_closest_marker(_MARKER) is not None
    if marked:
        _handshake().allow_outliving(True)
    yield
    if marked:
        _handshake().allow_outliving(False)
    if "dwebsocket.hub" in sys.modules:
        from dwebsocket.testing.cleaning import reset

        reset()


def _handshake() -> Any:
    from dwebsocket.testing import handshake

    return handshake


def _logged_in(client: Any, user: Any) -> Any:
    """Return a copy of a client with cookies of its own, logged in."""
    import copy
    from http.cookies import SimpleCookie

    found = copy.copy(client)
    found.cookies = SimpleCookie()
    found.force_login(user)
    return found


@pytest.fixture
def ws_connect(client: Any) -> Iterator[Callable[..., ClientWebSocket]]:
    """Return a function that opens a WebSocket with the test's ``client``.

    ``ws_connect(path, user=None, client=None, ...)``: ``user`` is logged in, in a
    session of its own; ``client`` is used instead of the fixture. The other arguments
    are those of :func:`dwebsocket.testing.connect`. WebSockets that are still open at
    the end of the test are left as by ``with``.
    """
    from dwebsocket.testing import connect

    opened: list[ClientWebSocket] = []
    its_own = client

    def ws_connect(
        path: str, *, user: Any = None, client: Any = None, **options: Any
    ) -> ClientWebSocket:
        used = its_own if client is None else client
        if user is not None:
            used = _logged_in(used, user)
        opened.append(connect(used, path, **options))
        return opened[-1]

    yield ws_connect
    _leave_all(opened)


def _leave_all(opened: list[ClientWebSocket]) -> None:
    """Leave every WebSocket, the latest first; raise the first error."""
    errors = []
    while opened:
        try:
            opened.pop().leave()
        except BaseException as error:
            errors.append(error)
    if errors:
        raise errors[0]


@pytest.fixture
def aws_connect(async_client: Any) -> Iterator[Callable[..., aconnect]]:
    """Return the asynchronous twin of ``ws_connect``, with the ``async_client``.

    Use it as ``async with aws_connect(path) as ws:``, or await it.
    """
    from dwebsocket.testing import aio

    opened: list[ClientWebSocket] = []
    its_own = async_client

    def aws_connect(
        path: str, *, user: Any = None, client: Any = None, **options: Any
    ) -> aconnect:
        used = its_own if client is None else client
        return aio.aconnect(
            used,
            path,
            prepare=None if user is None else lambda: _logged_in(used, user),
            note=opened.append,
            **options,
        )

    yield aws_connect
    _leave_all(opened)


@pytest.fixture
def live_ws_url(live_server: Any) -> str:
    """Return the URL of pytest-django's live server, as a WebSocket client needs it."""
    return "ws" + str(live_server.url).removeprefix("http")
