"""What people may call themselves and their rooms, and what they may say.

Everything here takes what a stranger sent (any JSON value) and returns text that is
safe to pass on, or raises :class:`~dwebsocket.session.Refused` with a code that the
page can explain. Escaping is the page's business: it never treats any of this as HTML.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from dwebsocket.session import Refused

from .conf import chat_settings

__all__ = ("clean_id", "clean_message", "clean_name", "clean_room", "folded", "shown")

#: So long that a group's name (255 bytes) has room for it in any script.
ROOM_LENGTH = 32

# Control characters, lone surrogates, private use; and the format characters (Cf),
# among them those that turn the direction of text around.
_UNWANTED = {"Cc", "Cf", "Cs", "Co"}
# The joiners that emoji and several scripts need (Cf too), and the tags of flags.
_JOINERS = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}
# Letters and symbols by category that show nothing.
_BLANK = set("\u115f\u1160\u2800\u3164\uffa0")
_VISIBLE = re.compile(r"[^\W_]|[\U0001F000-\U0001FAFF\u2190-\u2BFF]")
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


#: Marks on one letter (Unicode's stream-safe format). To put n of them in order takes
#: Python's normalize() n * n steps, in which nobody else has a turn: minutes for 1 MiB.
_MARKS = 30
#: Code points that a character may have in what was sent: letter, marks, jamo.
_PARTS = 4


def _is_wanted(char: str) -> bool:
    return unicodedata.category(char) not in _UNWANTED and char not in _BLANK


def _cleaned(value: object, keep: str = "") -> str:
    """Return the text in NFC without characters that could mislead a reader."""
    kept: list[str] = []
    marks = 0
    for char in value if isinstance(value, str) else "":
        if char in keep or char in _JOINERS or _is_wanted(char):
            marks = marks + 1 if unicodedata.combining(char) else 0
            if marks <= _MARKS:
                kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept))


def _is_longer(value: object, limit: float) -> bool:
    """Return whether a text is too long, however it is written: not worth a look."""
    return isinstance(value, str) and len(value) > limit * _PARTS + 100


def clean_name(value: Any) -> str:
    """Return the name with single spaces inside; it shows at least one character.

    Raises:
        Refused: It shows nothing (``name_empty``), or it is too long (``name_long``).
    """
    limit = chat_settings.NAME_LENGTH
    too_long = _is_longer(value, limit)
    name = "" if too_long else " ".join(_cleaned(value, keep="\t\n").split())
    if not too_long and not _VISIBLE.search(name):
        raise Refused("name_empty", "a name has a letter or a number")
    if too_long or len(name) > limit:
        raise Refused("name_long", f"a name has at most {limit} characters")
    return name


def shown(value: Any) -> str:
    """Return a name that was not chosen just now: it cannot be refused, only cut."""
    limit = int(chat_settings.NAME_LENGTH)
    if _is_longer(value, limit):
        value = value[: limit * _PARTS]
    return " ".join(_cleaned(value, keep="\t\n").split())[:limit] or "?"


def folded(name: str) -> str:
    """Return what two names have in common that readers would take for the same."""
    bare = "".join(char for char in name[:200] if char not in _JOINERS)
    return unicodedata.normalize("NFKC", bare).casefold()


def clean_room(value: Any) -> str:
    """Return a room's name as it stands in addresses: lower case, no spaces.

    Raises:
        ValueError: It has other characters than letters, numbers, - and _, or is too
            long.
    """
    if _is_longer(value, ROOM_LENGTH):
        raise ValueError(f"a room's name has at most {ROOM_LENGTH} characters")
    room = "-".join(_cleaned(value, keep="\t\n").lower().split())
    # What is lower case may be written in fewer code points.
    room = unicodedata.normalize("NFC", room)
    # Letters of every script, with their marks, and numbers.
    fits = all(char in "-_" or unicodedata.category(char)[0] in "LMN" for char in room)
    if not fits or not _VISIBLE.search(room):
        raise ValueError("a room's name has letters, numbers, - and _")
    if len(room) > ROOM_LENGTH:
        raise ValueError(f"a room's name has at most {ROOM_LENGTH} characters")
    return room


def clean_message(value: Any) -> str:
    """Return the message with its line breaks and without space around it.

    Raises:
        Refused: There is nothing to read in it (``message_empty``), or too much
            (``message_long``).
    """
    length, lines = chat_settings.MESSAGE_LENGTH, chat_settings.MESSAGE_LINES
    text = value if isinstance(value, str) else ""
    too_long = _is_longer(text, length)
    if not too_long:
        text = _cleaned(text.replace("\r\n", "\n"), keep="\t\n").strip()
    if not text:
        raise Refused("message_empty", "there is nothing to read in it")
    if too_long or len(text) > length or text.count("\n") >= lines:
        raise Refused("message_long", f"at most {length} characters, {lines} lines")
    return text


def clean_id(value: Any) -> str:
    """Return a page's own mark of a message, or of itself.

    Raises:
        Refused: It is none (``invalid``).
    """
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise Refused("invalid", "an id has 8 to 64 letters, digits and -")
