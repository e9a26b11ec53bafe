"""System checks of ``contrib.chat``.

dwebsocket.E021  DWEBSOCKET["CHAT"] has an unknown key or a value out of range.
dwebsocket.E022  PERMISSIONS does not name a class of permissions.
dwebsocket.E023  A name in ROOMS is not a valid name of a room.
dwebsocket.W024  A whole history might not fit into a page's outbox.
dwebsocket.E029  "dwebsocket" is not in INSTALLED_APPS: pages do not find its script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register

from dwebsocket.conf import acceptable
from dwebsocket.conf.arguments import shown
from dwebsocket.conf.sections import importable, installed

from . import text
from .conf import chat_settings
from .permissions import Permissions

__all__ = ("check_chat",)

#: The most bytes of a character in JSON ("\\ud83d\\ude00"), and of a message without
#: its text.
_CHARACTER, _REST = 12, 1_000


@register(Tags.compatibility)
def check_chat(
    app_configs: Sequence[Any] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the settings of the chat, and that pages find their script."""
    return [
        *chat_settings.check("dwebsocket.E021"),
        *_check_values(),
        *installed("dwebsocket.contrib.chat", "dwebsocket.E029"),
    ]


def _check_values() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    message = importable(
        "DWEBSOCKET['CHAT']['PERMISSIONS']",
        chat_settings.acceptable("PERMISSIONS"),
        lambda value: isinstance(value, type) and issubclass(value, Permissions),
        "a subclass of dwebsocket.contrib.chat.Permissions",
    )
    if message:
        found.append(Error(message, id="dwebsocket.E022"))
    for room in chat_settings.acceptable("ROOMS"):
        try:
            fits = text.clean_room(room) == room
        except ValueError:
            fits = False
        if not fits:
            found.append(
                Error(
                    f"DWEBSOCKET['CHAT']['ROOMS'] has {shown(room)}: a room's name has "
                    "lower case letters, numbers, - and _.",
                    id="dwebsocket.E023",
                )
            )
    return [*found, *_crowded()]


def _crowded() -> list[CheckMessage]:
    """Return a warning if a history may be larger than the outbox of a page."""
    longest = chat_settings.acceptable("MESSAGE_LENGTH") * _CHARACTER + _REST
    needed = round(chat_settings.acceptable("HISTORY") * longest)
    if needed <= acceptable("OUTBOX_BYTES"):
        return []
    message = (
        "DWEBSOCKET['CHAT']: a history of the longest messages might not fit into a "
        "page's outbox, and the page could not join the room."
    )
    hint = f"Lower HISTORY or MESSAGE_LENGTH, or set OUTBOX_BYTES to {needed}."
    return [Warning(message, hint=hint, id="dwebsocket.W024")]
