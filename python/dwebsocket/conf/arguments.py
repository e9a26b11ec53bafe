"""Checks of arguments: one rule for each kind of argument, the same in all methods."""

from __future__ import annotations

import operator
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias

from django.utils.functional import Promise

from dwebsocket import _engine

__all__ = (
    "REASON_BYTES",
    "Seconds",
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

#: A length of time, as any real number.
Seconds: TypeAlias = "SupportsFloat | SupportsIndex"

#: A timeout of this many seconds or more counts as no limit.
_FOREVER = 1e9
#: A close reason's limit: a control frame's 125 bytes less the code (RFC 6455 5.5).
REASON_BYTES = 123
#: The largest limit that the engine takes; a larger one is cut to this.
_MOST = 0xFFFF_FFFF


def seconds(timeout: Any) -> float | None:
    """Convert a timeout to what the engine, gevent and ``poll`` take: float or None.

    Args:
        timeout: Seconds, as any real number (int, float, Decimal, Fraction, numpy's).
            None, a number below 0, infinity, and 1e9 (31 years) or more: no limit.

    Raises:
        TypeError: The timeout is not a number.
        ValueError: The timeout is nan.
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

    A project may have put the broker's URL into the wrong setting.
    """
    text = repr(value)
    return "://" in text and "@" in text


def shown(value: Any) -> str:
    """Return a wrong value as error messages show it; only its type if it is secret."""
    if is_secret(value):
        return f"this {type(value).__name__}, which may be secret"
    return repr(value)


def well_formed(text: str) -> str:
    """Replace each unpaired surrogate in a text with U+FFFD, as browsers do.

    A str that Python made from JSON or from a file name may contain unpaired
    surrogates; UTF-8 cannot encode them.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def message(value: Any) -> Any:
    """Return a message in a form that the engine takes.

    Django's lazy strings become str; other types are left to the engine's own check.

    Raises:
        TypeError: The value is what ``wait()`` of an async view returns, not awaited.
    """
    if isinstance(value, Promise):
        value = str(value)
    elif isinstance(value, _engine.Receiving):
        raise TypeError(value.advice)
    return well_formed(value) if isinstance(value, str) else value


def _whole(value: Any, what: str) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{what} is a whole number, not {type(value).__name__}")


def limit(value: Any) -> int:
    """Return a limit, a number of items, as an int that the engine takes.

    Raises:
        TypeError: The limit is not a whole number.
        ValueError: The limit is less than 0.
    """
    number = _whole(value, "a limit")
    if number < 0:
        raise ValueError(f"a limit is a whole number of at least 0, not {number}")
    return min(number, _MOST)


def group_name(value: Any) -> str:
    """Return a group's name.

    Raises:
        TypeError: The name is not a str.
    """
    if not isinstance(value, str):
        raise TypeError(f"a group's name is a str, not {type(value).__name__}")
    return value


def position(since: Any) -> tuple[int, str] | None:
    """Return a position in a history as a tuple of offset and epoch.

    Args:
        since: The pair as a tuple, or as a list, because JSON has no tuples. None: no
            position.

    Raises:
        TypeError: ``since`` is not a pair of a whole number and a str.
        ValueError: The offset is outside of 0 to 2**63 - 1.
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
    """Return the member ids that a client had before, as a list.

    Raises:
        TypeError: An id is not a str.
    """
    given = [was] if isinstance(was, str) else list(was)
    for one in given:
        if not isinstance(one, str):
            raise TypeError(f"was takes member ids, which are str, not {one!r:.100}")
    return given


def close_code(code: Any) -> int:
    """Return a close code; None: 1000.

    Raises:
        TypeError: The code is not a whole number.
        ValueError: The code does not fit into a Close frame.
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
    """Return a close reason as str, cut to a number of bytes of UTF-8.

    Args:
        value: The reason, as str or bytes. None: no reason.
        limit: The most bytes to keep; None: all.

    Raises:
        TypeError: The reason is neither str nor bytes.
    """
    return _data(value, "a close reason")[:limit].decode(errors="ignore")


def ping_payload(value: Any) -> bytes:
    """Return a ping's payload, given as str or bytes, as bytes.

    Raises:
        TypeError: The payload is neither str nor bytes.
    """
    return _data(value, "a ping's payload")
