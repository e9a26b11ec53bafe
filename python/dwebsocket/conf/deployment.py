"""Settings that work, and are dangerous in production: for ``check --deploy``."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from .arguments import shown
from .values import acceptable

__all__ = ("Danger", "dangers")

#: Seconds that gunicorn gives its workers by default (``--graceful-timeout``).
GRACE = 30
#: Bytes of memory; a client that makes a process hold more is a danger.
_LARGE = 64 * 1024 * 1024


class Danger(NamedTuple):
    """A dangerous setting.

    Args:
        id: The id of the check.
        message: What is dangerous.
        hint: What to do.
    """

    id: str
    message: str
    hint: str


def dangers() -> Iterator[Danger]:
    """Yield the dangerous settings; keys with values that are errors are left out."""
    yield from _stop()
    if acceptable("ACCEPT_ALL"):
        yield Danger(
            "dwebsocket.W010",
            "DWEBSOCKET['ACCEPT_ALL'] is on: WebSockets open on every view, also on "
            "views that were not written for them.",
            "Decorate the views that need a WebSocket.",
        )
    if acceptable("PING_INTERVAL") is None:
        yield Danger(
            "dwebsocket.W011",
            "DWEBSOCKET['PING_INTERVAL'] is None: the connection and the view of a "
            "client that vanishes stay for hours.",
            "Set PING_INTERVAL to 20 seconds, the default.",
        )
    yield from _memory()
    yield from _broker()


def _stop() -> Iterator[Danger]:
    seconds = acceptable("SHUTDOWN_SPREAD") + acceptable("SHUTDOWN_TIMEOUT")
    if seconds >= GRACE:
        yield Danger(
            "dwebsocket.W009",
            f"A stop may take {seconds:g} seconds (DWEBSOCKET['SHUTDOWN_SPREAD'] and "
            "['SHUTDOWN_TIMEOUT']). A server that gives its workers less time, such as "
            f"gunicorn with its {GRACE} seconds, cuts off the connections that are "
            "still open, and their clients all come back at once.",
            "Lower the two settings, or raise the server's time (gunicorn's "
            "--graceful-timeout) and silence this check.",
        )


def _memory() -> Iterator[Danger]:
    for key in ("MAX_MESSAGE_SIZE", "INBOX_BYTES", "OUTBOX_BYTES"):
        value = acceptable(key)
        if value > _LARGE:
            yield Danger(
                "dwebsocket.W012",
                f"DWEBSOCKET[{key!r}] is {value}: a few clients can make a process "
                "hold gigabytes.",
                f"Set {key} for the views that need it, by the decorator's argument "
                f"{key.lower()}=.",
            )


def _broker() -> Iterator[Danger]:
    broker = acceptable("BROKER")
    if broker is None:
        return
    try:
        parts = urlsplit(broker)
        host, secret = parts.hostname or "", parts.username or parts.password
    except ValueError:
        return
    if parts.scheme in ("redis", "nats") and not secret and not _is_near(host):
        yield Danger(
            "dwebsocket.W013",
            f"DWEBSOCKET['BROKER'] is {shown(broker)}, on another machine and without "
            "a password: who reaches that machine's port reads all messages, and sends "
            "to every user.",
            "Give the broker a password, and use TLS (rediss:// or tls://) where the "
            "network is not your own.",
        )


def _is_near(host: str) -> bool:
    """Return whether a host is this machine."""
    if host in ("", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
