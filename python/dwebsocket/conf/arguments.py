"""What callers may pass: one rule for each kind of argument, whichever method it is."""

from __future__ import annotations

import operator
from typing import Any

from django.utils.functional import Promise

__all__ = (
    "REASON_BYTES",
    "close_code",
    "group_name",
    "is_secret",
    "limit",
    "member_ids",
    "message",
    "ping_payload",
    "position",
    "reason",
    "seconds",
    "shown",
    "well_formed",
)

#: Longer timeouts, in seconds, are no limit.
_FOREVER = 1e9
#: A close reason's limit: a control frame's 125 bytes less the code (RFC 6455 5.5).
REASON_BYTES = 123
#: More than this is no limit.
_MOST = 0xFFFF_FFFF


def seconds(timeout: Any) -> float | None:
    """Return a timeout as the engine, gevent and ``poll`` take it.

    Args:
        timeout: Any real number (int, float, Decimal, Fraction, numpy's). None, less
            than 0, infinity, and more than 30 years: no limit.

    Raises:
        TypeError: It is not a number.
        ValueError: It is "not a number" (nan).
    """
    if timeout is None:
        return None
    kind = type(timeout)
    if not (hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        raise TypeError(f"a timeout is a number of seconds, not {kind.__name__}")
    try:
        value = float(timeout)
    except OverflowError:
        return None
    if value != value:
        raise ValueError("a timeout is a number of seconds, not nan")
    return value if 0 <= value < _FOREVER else None


def is_secret(value: Any) -> bool:
    """Return whether a wrong value may be a secret: a URL with a password in it.

    Somebody may have taken the wrong setting for that of the broker.
    """
    text = repr(value)
    return "://" in text and "@" in text


def shown(value: Any) -> str:
    """Return what a message says of a wrong value; nothing of what may be secret."""
    if is_secret(value):
        return f"this {type(value).__name__}, which may be secret"
    return repr(value)


def well_formed(text: str) -> str:
    """Return a text with U+FFFD for each half of a surrogate pair, as browsers send it.

    Python keeps such halves where JSON or a file name had them; UTF-8 has none.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def message(value: Any) -> Any:
    """Return a message as the engine takes it, where it is not that already.

    Django's lazy strings are sent as what they stand for.
    """
    if isinstance(value, Promise):
        value = str(value)
    return well_formed(value) if isinstance(value, str) else value


def _whole(value: Any, what: str) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{what} is a whole number, not {type(value).__name__}")


def limit(value: Any) -> int:
    """Return how many of something are wanted.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is less than 0.
    """
    number = _whole(value, "a limit")
    if number < 0:
        raise ValueError(f"a limit is a whole number of at least 0, not {number}")
    return min(number, _MOST)


def group_name(value: Any) -> str:
    """Return a group's name.

    Raises:
        TypeError: It is not a str.
    """
    if not isinstance(value, str):
        raise TypeError(f"a group's name is a str, not {type(value).__name__}")
    return value


def position(since: Any) -> tuple[int, str] | None:
    """Return a place in a history, given as a pair; a list, too: JSON has no tuples.

    Raises:
        TypeError: It is no pair of a whole number and a str.
        ValueError: No history has such an offset.
    """
    if since is None:
        return None
    if not isinstance(since, tuple | list) or len(since) != 2:
        raise TypeError(f"since is an offset and an epoch, not {since!r:.100}")
    number, epoch = _whole(since[0], "an offset"), since[1]
    if not isinstance(epoch, str):
        raise TypeError(f"an epoch is a str, not {type(epoch).__name__}")
    if not 0 <= number < 1 << 63:
        raise ValueError(f"an offset is a number from 0 to 2**63 - 1, not {number}")
    return number, epoch


def member_ids(was: Any) -> list[str]:
    """Return the ids that a client had before.

    Raises:
        TypeError: Something is no str.
    """
    given = [was] if isinstance(was, str) else list(was)
    for one in given:
        if not isinstance(one, str):
            raise TypeError(f"was has member ids, which are str, not {one!r:.100}")
    return given


def close_code(code: Any) -> int:
    """Return a close code; None: 1000.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It does not fit into a Close frame.
    """
    if code is None:
        return 1000
    number = _whole(code, "a close code")
    if not 0 <= number <= 0xFFFF:
        raise ValueError(
            f"{number} is not a close code that may be sent (RFC 6455 section 7.4)"
        )
    return number


def _data(value: Any, what: str) -> bytes:
    if value is None:
        return b""
    value = message(value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"{what} is str or bytes, not {type(value).__name__}")


def reason(value: Any, limit: int | None = REASON_BYTES) -> str:
    """Return a close reason, given as str or bytes, cut at a number of bytes.

    Raises:
        TypeError: It is something else.
    """
    return _data(value, "a close reason")[:limit].decode(errors="ignore")


def ping_payload(value: Any) -> bytes:
    """Return a ping's payload, given as str or bytes.

    Raises:
        TypeError: It is something else.
    """
    return _data(value, "a ping's payload")
