"""The rules for names of people and rooms, and for messages.

The functions take a value from a stranger (any JSON value) and return text that is safe
to pass on. Otherwise they raise :class:`~dwebsocket.session.Refused` with a code that
the page can explain; for rooms, ValueError. The text is not escaped: pages never treat
it as HTML.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from dwebsocket.session import Refused

from .conf import chat_settings

__all__ = ("clean_id", "clean_message", "clean_name", "clean_room", "folded", "shown")

#: The most characters of a room's name: in any script, they fit into the 255 bytes of a
#: group's name.
ROOM_LENGTH = 32

# Control characters, lone surrogates, private use, and format characters (Cf), some of
# which change the direction of the text.
_UNWANTED = {"Cc", "Cf", "Cs", "Co"}
# The joiners that emoji and several scripts need, and the tags of flags (Cf, too).
_JOINERS = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}
# Characters that are invisible although their category is a letter or a symbol.
_BLANK = set("\u115f\u1160\u2800\u3164\uffa0")
# What Unicode lets a font ignore (Default_Ignorable_Code_Point): marks such as U+034F,
# the selectors of variants, of which emoji need some, and code points kept for more.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_VISIBLE = re.compile(r"[^\W_]|[\U0001F000-\U0001FAFF\u2190-\u2BFF]")
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


#: The most marks on one letter (Unicode's stream-safe format). Python's normalize()
#: orders n marks in n * n steps, and no other thread runs meanwhile: minutes for 1 MiB.
_MARKS = 30
#: Code points that a client may have sent for one character: letter, marks, jamo.
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
    """Return whether a text is too long even before it is cleaned and normalized."""
    return isinstance(value, str) and len(value) > limit * _PARTS + 100


def clean_name(value: Any) -> str:
    """Return a name with single spaces between its words.

    Raises:
        Refused: The name has no visible character (``name_empty``), or is too long
            (``name_long``).
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
    """Clean a name that cannot be refused, because no visitor chose it just now."""
    limit = int(chat_settings.NAME_LENGTH)
    if _is_longer(value, limit):
        value = value[: limit * _PARTS]
    return " ".join(_cleaned(value, keep="\t\n").split())[:limit] or "?"


def folded(name: str) -> str:
    """Return a form of a name that is equal for names that readers may mix up."""
    bare = _IGNORABLE.sub("", name[:200])
    return unicodedata.normalize("NFKC", bare).casefold()


def clean_room(value: Any) -> str:
    """Return a room's name as used in addresses: in lower case, without spaces.

    The page has the same rules, for the field that opens a room (roomName in rooms.js).

    Raises:
        ValueError: The name has characters other than letters, numbers, - and _, or is
            too long.
    """
    if _is_longer(value, ROOM_LENGTH):
        raise ValueError(f"a room's name has at most {ROOM_LENGTH} characters")
    seen = _IGNORABLE.sub("", _cleaned(value, keep="\t\n"))
    room = "-".join(seen.lower().split())
    # In lower case, the name may need fewer code points.
    room = unicodedata.normalize("NFC", room)
    # Letters (L) of every script, their marks (M), and numbers (N).
    fits = all(char in "-_" or unicodedata.category(char)[0] in "LMN" for char in room)
    if not fits or not _VISIBLE.search(room):
        raise ValueError("a room's name has letters, numbers, - and _")
    if len(room) > ROOM_LENGTH:
        raise ValueError(f"a room's name has at most {ROOM_LENGTH} characters")
    return room


def clean_message(value: Any) -> str:
    """Return a message with its line breaks, but without space around it.

    Raises:
        Refused: The message is empty (``message_empty``) or too long
            (``message_long``).
    """
    length, lines = chat_settings.MESSAGE_LENGTH, chat_settings.MESSAGE_LINES
    text = value if isinstance(value, str) else ""
    too_long = _is_longer(text, length)
    if not too_long:
        text = _cleaned(text.replace("\r\n", "\n"), keep="\t\n").strip()
    if not text:
        raise Refused("message_empty", "the message is empty")
    if too_long or len(text) > length or text.count("\n") >= lines:
        raise Refused(
            "message_long",
            f"a message has at most {length} characters and {lines} lines",
        )
    return text


def clean_id(value: Any) -> str:
    """Return an id that a page chose for a message, or the page's key.

    Raises:
        Refused: The value has not the form of an id (``invalid``).
    """
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise Refused("invalid", "an id has 8 to 64 letters, digits and -")
