"""Groups of WebSockets: send to all members at once, in all processes of the site.

    from dwebsocket import hub, websocket

    @websocket
    def chat(request, room):
        request.websocket.join(f"chat.{room}")
        for message in request.websocket:
            hub.group(f"chat.{room}").send(message)

A group exists as long as somebody is in it. Its members get every message in the same
order; a member that reads too slowly meets the setting ``OVERFLOW`` and delays nobody.
With ``history``, a group remembers its latest messages, and who comes back gets what it
missed.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from django.core.serializers.json import DjangoJSONEncoder
from django.core.signals import setting_changed

from . import _engine
from ._engine import BrokerError, Joined, Published
from .conf import settings

__all__ = (
    "BrokerError",
    "Group",
    "Joined",
    "Member",
    "Options",
    "Published",
    "connect",
    "group",
    "groups",
    "options",
    "payload",
)

logger = logging.getLogger("dwebsocket.hub")

Message: TypeAlias = "str | bytes | bytearray | memoryview"


class Options(NamedTuple):
    """What a group does beside passing messages on.

    Args:
        history: How many messages it remembers; 0: none.
        ttl: Seconds that it remembers them.
        presence: Whether its members can see one another.
    """

    history: int = 0
    ttl: float = 300.0
    presence: bool = True


class Member(NamedTuple):
    """Somebody in a group.

    Args:
        id: Tells this member from every other, in all processes.
        info: What it said of itself when it joined.
    """

    id: str
    info: Any


_options: dict[str, Options] = {}
_connect_lock = threading.Lock()
_connected_in: int | None = None


def options(name: str) -> Options:
    """Return what ``DWEBSOCKET["GROUPS"]`` says of a group.

    A name given there in full goes before the longest prefix (``"chat.*"``).
    """
    found = _options.get(name)
    if found is None:
        given: Mapping[str, Mapping[str, Any]] = settings.GROUPS
        chosen = given.get(name)
        if chosen is None:
            prefixes = [
                key
                for key in given
                if key.endswith("*") and name.startswith(key.removesuffix("*"))
            ]
            chosen = given[max(prefixes, key=len)] if prefixes else {}
        found = Options(**chosen)
        if len(_options) >= 10_000:
            # Names may come from visitors.
            _options.clear()
        _options[name] = found
    return found


def _renew() -> None:
    """Forget the lock of a thread that a forked child does not have."""
    global _connect_lock
    _connect_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew)


def connect() -> None:
    """Connect this process to the broker of the settings, if it is not yet.

    Raises:
        ValueError: The URL cannot be used.
    """
    global _connected_in
    if _connected_in == os.getpid():
        return
    with _connect_lock:
        if _connected_in != os.getpid():
            _engine.hub_configure(
                broker=settings.BROKER,
                prefix=settings.BROKER_PREFIX,
                timeout=float(settings.BROKER_TIMEOUT),
            )
            _connected_in = os.getpid()
            _warn_of_workers()


def _warn_of_workers() -> None:
    from .checks import workers

    if not settings.BROKER and workers() > 1:
        logger.info(
            "Groups, push and presence stop at this process: there are %s workers and "
            "no DWEBSOCKET['BROKER']",
            workers(),
        )


def payload(message: Any) -> tuple[str | bytes, bool, bool]:
    """Return a message as the engine takes it: the data, and if it is binary or JSON.

    ``str`` is text, ``bytes`` binary, anything else is sent as JSON.

    Raises:
        TypeError: It is not a thing that JSON has a form for.
    """
    if isinstance(message, str):
        return message, False, False
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message), True, False
    return json.dumps(message, cls=DjangoJSONEncoder), False, True


def _ids(exclude: Any) -> list[int]:
    if exclude is None:
        return []
    if not isinstance(exclude, Iterable) or hasattr(exclude, "join"):
        exclude = [exclude]
    return [websocket.id for websocket in exclude]


class Group:
    """One group, or several that are sent to in one call.

    Args:
        names: The groups: 1 to 255 bytes of UTF-8 each, no control characters.
        options: Instead of what the settings say.
    """

    __slots__ = ("names", "options")

    def __init__(self, names: tuple[str, ...], options: Options) -> None:
        self.names = names
        self.options = options

    def send(self, message: Message, *, exclude: Any = None) -> Published:
        """Send a message to every member, in all processes.

        Args:
            message: ``str`` goes out as text, ``bytes`` as binary.
            exclude: A WebSocket of this process, or several, that do not get it.

        Returns:
            How many connections of this process it went to (``.local``), and what the
            broker made of it (``.broker``).

        Raises:
            TypeError: The message is neither str nor bytes (see :meth:`send_json`).
            ValueError: The group's name breaks the rules.
        """
        if not isinstance(message, str | bytes | bytearray | memoryview):
            raise TypeError(
                f"a message is str or bytes, not {type(message).__name__}; send_json() "
                "sends anything that JSON can express"
            )
        return self._publish(payload(message), exclude)

    def send_json(self, data: Any, *, exclude: Any = None, **kwargs: Any) -> Published:
        """Send ``data`` as JSON text.

        Args:
            data: What Django's JSON encoder can encode.
            exclude: As for :meth:`send`.
            kwargs: Go to :func:`json.dumps`.
        """
        kwargs.setdefault("cls", DjangoJSONEncoder)
        return self._publish((json.dumps(data, **kwargs), False, True), exclude)

    def _publish(
        self, message: tuple[str | bytes, bool, bool], exclude: Any
    ) -> Published:
        connect()
        data, binary, is_json = message
        return _engine.publish(
            "group",
            list(self.names),
            data,
            binary=binary,
            json=is_json,
            exclude=_ids(exclude),
            history=self.options.history,
            ttl=float(self.options.ttl),
        )

    def close(self, code: int = 1000, reason: str = "") -> Published:
        """Close the connections of all members, in all processes."""
        connect()
        return _engine.disconnect("group", list(self.names), code, reason)

    def members(self) -> list[Member]:
        """Return the members of all processes who are present (see ``join()``)."""
        connect()
        return [
            Member(number, json.loads(info))
            for name in self.names
            for number, info in _engine.members(name)
        ]

    def count(self) -> int:
        """Return how many members there are."""
        connect()
        return sum(_engine.count(name) for name in self.names)

    def history(self, limit: int = 100) -> list[tuple[int, str | bytes]]:
        """Return the latest messages, the oldest first, with their offsets.

        Raises:
            BrokerError: The broker cannot be asked.
        """
        connect()
        size, ttl = self.options.history, float(self.options.ttl)
        return [
            entry
            for name in self.names
            for entry in _engine.history(name, limit, size, ttl)[0]
        ]

    def __repr__(self) -> str:
        return f"<Group {', '.join(self.names)}>"


def group(
    name: str,
    *,
    history: int | None = None,
    ttl: float | None = None,
    presence: bool | None = None,
) -> Group:
    """Return a group; what is not given, the settings say (``GROUPS``).

    Args:
        name: 1 to 255 bytes of UTF-8, no control characters.
        history: How many messages it remembers; 0: none.
        ttl: Seconds that it remembers them.
        presence: Whether its members can see one another.
    """
    return Group((name,), merged(name, history, ttl, presence))


def groups(*names: str) -> Group:
    """Return several groups: each member gets a message once, whichever it is in.

    In groups that keep a history, once for each group: it has a position in each.
    """
    kept = [options(name) for name in names]
    most = max(kept, key=lambda each: each.history, default=Options())
    return Group(names, most)


def merged(
    name: str, history: int | None, ttl: float | None, presence: bool | None
) -> Options:
    """Return a group's options, with arguments before settings."""
    base = options(name)
    return Options(
        base.history if history is None else history,
        base.ttl if ttl is None else ttl,
        base.presence if presence is None else presence,
    )


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "DWEBSOCKET":
        _options.clear()


setting_changed.connect(_forget, dispatch_uid="dwebsocket.hub")
