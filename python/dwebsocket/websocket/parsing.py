"""Parsing of JSON that an untrusted client has sent."""

from __future__ import annotations

import json
from typing import Any

from dwebsocket import _engine

__all__ = ("MAX_DEPTH", "from_json", "strict_json")

#: Levels of arrays and objects that a message may have. Code that walks the value by
#: recursion has room for this many levels, even on a small stack.
MAX_DEPTH = 128


def from_json(message: str | bytes, **options: Any) -> Any:
    """Parse JSON as ``json.loads()`` does, but refuse JSON that is nested too deep.

    Raises:
        ValueError: The message is not JSON, or nested deeper than :data:`MAX_DEPTH`.
    """
    # A shorter message cannot be that deep. Few longer ones have that many brackets;
    # only for these is the depth counted.
    if len(message) > MAX_DEPTH:
        if not isinstance(message, str):
            # json.loads() decodes bytes in the same way.
            message = message.decode(json.detect_encoding(message), "surrogatepass")
        if message.count("[") + message.count("{") > MAX_DEPTH:
            depth = _engine.json_depth(message.encode("utf-8", "surrogatepass"))
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return json.loads(message, **options)


def strict_json(message: str | bytes) -> Any:
    """Parse JSON that a client has sent; NaN and Infinity are no JSON values.

    They are extensions of Python, on which ``JSON.parse()`` of other clients fails.

    Raises:
        ValueError: As :func:`from_json`, or the message contains such a value.
    """
    return from_json(message, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")
