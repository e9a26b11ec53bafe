"""What callers may pass: one rule for each kind of argument, whichever method it is."""

from __future__ import annotations

import operator
from typing import Any

from django.utils.functional import Promise

__all__ = (
    "REASON_BYTES",
    "close_code",
    "message",
    "ping_payload",
    "reason",
    "seconds",
    "well_formed",
)

#: Longer timeouts, in seconds, are no limit.
_FOREVER = 1e9
#: A close reason's limit: a control frame's 125 bytes less the code (RFC 6455 5.5).
REASON_BYTES = 123


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


def close_code(code: Any) -> int:
    """Return a close code; None: 1000.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It does not fit into a Close frame.
    """
    if code is None:
        return 1000
    if isinstance(code, bool):
        raise TypeError("a close code is a number, not bool")
    number = operator.index(code)
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
