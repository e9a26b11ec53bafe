"""Keeps the figures of this process where the site's other processes find them.

The figures (connections, messages and so on) are in a file of a directory that all
processes of the site on this machine share. They stay when the process is killed.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from pathlib import Path

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from dwebsocket import _engine
from dwebsocket.conf import settings

from . import fork

__all__ = (
    "attach",
    "begun",
    "directories",
    "directory",
    "refused",
    "serve",
    "view_failed",
)

logger = logging.getLogger("dwebsocket.monitor")


def _site() -> str:
    """Return a text that the processes of this site have in common, and no others."""
    module = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    place = os.path.realpath(getattr(module, "__file__", None) or "")
    try:
        secret = django_settings.SECRET_KEY
    except ImproperlyConfigured:
        secret = "-"
    words = f"{place}\n{settings.BROKER_PREFIX}"
    digest = salted_hmac("dwebsocket.monitor", words, secret=secret, algorithm="sha256")
    return digest.hexdigest()[:16]


def directory() -> Path | None:
    """Return the directory of the site's figures; None if the settings want none.

    Raises:
        ConfigurationError: The settings are not valid.
    """
    given = settings.MONITOR_DIRECTORY
    if given is False:
        return None
    if given is not None:
        return Path(given)
    return Path(tempfile.gettempdir(), f"dwebsocket-{os.geteuid()}-{_site()}")


def directories() -> list[Path]:
    """Return the directories of this site's figures, those of other users included.

    A command may run as another user than the server.
    """
    own = directory()
    if own is None:
        return []
    if settings.MONITOR_DIRECTORY is not None:
        return [own]
    pattern = re.compile(rf"dwebsocket-(\d+)-{_site()}")
    found = [own]
    for path in own.parent.glob(f"dwebsocket-*-{_site()}"):
        name = pattern.fullmatch(path.name)
        # A directory that somebody else has made says nothing about that user.
        if name and path != own and path.lstat().st_uid == int(name[1]):
            found.append(path)
    return found


@fork.once
def attach() -> None:
    """Keep the figures of this process in a file from now on; once in each process.

    If that is not possible, the log has a line, and everything else works.
    """
    place = directory()
    if place is None:
        return
    try:
        _engine.monitor_attach(place)
    except OSError as error:
        logger.warning(
            "The figures of this process cannot be kept in %s: %s. Other processes do "
            "not see them, and they are lost with the process. Set "
            "DWEBSOCKET['MONITOR_DIRECTORY'] to a directory of this user, or to False.",
            place,
            error,
        )


def begun() -> bool:
    """Return whether :func:`attach` was called in this process: it serves the site."""
    return attach.is_done()


@fork.once
def serve() -> None:
    """Answer the questions of other processes; called when the engine has started."""
    attach()
    try:
        _engine.monitor_serve()
    except OSError as error:
        logger.warning(
            "This process cannot answer questions of the monitoring in %s: %s",
            directory(),
            error,
        )


def refused(status: int) -> None:
    """Count a refused handshake by its HTTP status."""
    attach()
    _engine.count_refused(status)


def view_failed() -> None:
    """Count a view that has ended with an exception."""
    _engine.count_view_error()
