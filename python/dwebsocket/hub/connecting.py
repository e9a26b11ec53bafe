"""This process's connection to the broker of the settings, made once."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started, setting_changed

from dwebsocket import _engine
from dwebsocket.conf import settings
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.process import exit, fork, log
from dwebsocket.servers.workers import workers

__all__ = ("connect", "note_server", "use")

logger = logging.getLogger("dwebsocket.hub")

#: Seconds that connections get to close when a test changes the broker.
_FAREWELL = 0.5

_lock = fork.Lock()
_connected_in: int | None = None
#: The broker's settings that this process has connected with.
_connected_by: tuple[Any, ...] = (None,)
#: Whether the server says that it has other processes beside this one.
_several = False
#: Whether this process has checked that messages reach the server's other processes.
_looked = False
#: Whether this process answers HTTP requests, so that WebSockets may come.
_serving = False
#: Whether this process has logged the warning that its messages reach nobody.
_told = False


def _begin_anew() -> None:
    """Reset the flags in a forked child, which logs its own warnings."""
    global _looked, _told
    _looked = _told = False


os.register_at_fork(after_in_child=_begin_anew)


def _note_request(sender: Any, **kwargs: Any) -> None:
    """Note at the first WSGI request that this process belongs to a WSGI server."""
    global _serving
    if isinstance(sender, type) and issubclass(sender, WSGIHandler):
        _serving = True
        request_started.disconnect(dispatch_uid="dwebsocket.broker")


request_started.connect(_note_request, dispatch_uid="dwebsocket.broker")


def connect() -> None:
    """Connect this process to the broker of the settings, unless it is connected.

    The call does not wait for the connection. At the end of the process, messages that
    still wait for the broker are sent, within ``SHUTDOWN_TIMEOUT``.

    Raises:
        ConfigurationError: The broker's URL cannot be used.
    """
    global _connected_in, _connected_by
    if _connected_in == os.getpid():
        return
    with _lock:
        if _connected_in == os.getpid():
            return
        try:
            _engine.hub_configure(
                broker=settings.BROKER,
                prefix=settings.BROKER_PREFIX,
                timeout=float(settings.BROKER_TIMEOUT),
            )
        except ValueError as error:
            raise ConfigurationError(f"DWEBSOCKET['BROKER']: {error}.") from error
        if settings.BROKER is not None:
            exit.arm()
            log.start()
        _connected_in = os.getpid()
        _connected_by = _wanted()


def _wanted() -> tuple[Any, ...]:
    return settings.BROKER, settings.BROKER_PREFIX, settings.BROKER_TIMEOUT


def follow_settings(**kwargs: Any) -> None:
    """Leave the broker if the settings have changed: the next use connects anew.

    Settings change in tests only (``override_settings``). Connections that are open
    then are closed, since the engine ends together with the broker's connection.
    """
    global _connected_in
    if _connected_in != os.getpid() or _connected_by == _wanted():
        return
    if _connected_by[0] is not None:
        _engine.renew(_FAREWELL)
        exit.end_runners()
    _connected_in = None


def _follow(*, setting: str, **kwargs: Any) -> None:
    if setting == "DWEBSOCKET":
        # A test may set what cannot be used; the next connect() says so.
        with contextlib.suppress(ConfigurationError):
            follow_settings()


setting_changed.connect(_follow, dispatch_uid="dwebsocket.broker")


def note_server(several: bool) -> None:
    """Note whether the server has several processes: ``wsgi.multiprocess`` (PEP 3333).

    Args:
        several: Whether the server says that it has several processes.
    """
    global _several, _serving
    _several = several
    _serving = True


def use() -> None:
    """Connect before a use of groups; warn if these end at this process."""
    global _looked
    connect()
    if not _looked:
        _looked = True
        _warn_if_alone()
    if not (_serving or _told):
        _warn_if_nobody()


def _warn_if_nobody() -> None:
    """Warn once in a process that serves no WebSockets, such as a command or a task."""
    global _told
    if settings.BROKER is None and not _engine.connection_count():
        _told = True
        logger.warning(
            "No broker is set, and no connection is open in this process: its messages "
            "to groups, users and all reach nobody, and it sees no members. "
            "Set DWEBSOCKET['BROKER'], e.g. 'redis://localhost:6379/0' or "
            "'nats://localhost', here and in the server's processes."
        )


def _warn_if_alone() -> None:
    if settings.BROKER is not None:
        return
    if _several or workers() > 1:
        logger.warning(
            "This server has several worker processes and no broker: groups, push and "
            "presence do not reach from one process to another. Set "
            "DWEBSOCKET['BROKER'], e.g. "
            "'redis://localhost:6379/0' or 'nats://localhost', or run one worker "
            "process."
        )
