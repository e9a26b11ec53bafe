"""What people may call themselves and their rooms, and what they may say.

Everything here takes what a stranger sent (any JSON value) and returns text that is
safe to pass on, or raises :class:`Refused` with a code that the page can explain.
Escaping is the page's business: it never treats any of this as HTML.
"""

from __future__ import annotations

import re
import unicodedata

NAME_LENGTH = 32
ROOM_LENGTH = 32
MESSAGE_LENGTH = 2_000
MESSAGE_LINES = 40
LOBBY = "lobby"

# Control characters, lone surrogates, private use; and the format characters (Cf),
# among them those that turn the direction of text around.
_UNWANTED = {"Cc", "Cf", "Cs", "Co"}
# The joiners that emoji and several scripts need (Cf too), and the tags of flags.
_JOINERS = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}
# Letters and symbols by category that show nothing.
_BLANK = set("\u115f\u1160\u2800\u3164\uffa0")
_VISIBLE = re.compile(r"[^\W_]|[\U0001F000-\U0001FAFF\u2190-\u2BFF]")
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


class Refused(Exception):
    """A wish that is not granted; ``code`` names the reason for the page."""

    def __init__(self, code: str, **details: object) -> None:
        super().__init__(code)
        self.code = code
        self.details = details


def _cleaned(value: object, keep: str = "") -> str:
    """Return the text in NFC without characters that could mislead a reader."""
    text = unicodedata.normalize("NFC", value) if isinstance(value, str) else ""
    return "".join(
        char
        for char in text
        if char in keep
        or char in _JOINERS
        or (unicodedata.category(char) not in _UNWANTED and char not in _BLANK)
    )


def clean_name(value: object) -> str:
    """Return the name with single spaces inside; it shows at least one character."""
    name = " ".join(_cleaned(value, keep="\t\n").split())
    if not _VISIBLE.search(name):
        raise Refused("name-empty")
    if len(name) > NAME_LENGTH:
        raise Refused("name-long", limit=NAME_LENGTH)
    return name


def folded(name: str) -> str:
    """Return what two names have in common that readers would take for the same."""
    shown = "".join(char for char in name if char not in _JOINERS)
    return unicodedata.normalize("NFKC", shown).casefold()


def clean_room(value: object) -> str:
    """Return the room's name as it stands in the address: lower case, no spaces."""
    room = "-".join(_cleaned(value, keep="\t\n").lower().split())
    # Letters of every script, with their marks, and numbers.
    fits = all(char in "-_" or unicodedata.category(char)[0] in "LMN" for char in room)
    if not fits or not _VISIBLE.search(room):
        raise Refused("room-name")
    if len(room) > ROOM_LENGTH:
        raise Refused("room-long", limit=ROOM_LENGTH)
    return room


def clean_message(value: object) -> str:
    """Return the message with its line breaks and without space around it."""
    text = value if isinstance(value, str) else ""
    text = _cleaned(text.replace("\r\n", "\n"), keep="\t\n").strip()
    if not text:
        raise Refused("message-empty")
    if len(text) > MESSAGE_LENGTH or text.count("\n") >= MESSAGE_LINES:
        raise Refused("message-long", limit=MESSAGE_LENGTH, lines=MESSAGE_LINES)
    return text


def clean_id(value: object) -> str:
    """Return the page's own mark of a message (or of itself)."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise Refused("bad-request")
