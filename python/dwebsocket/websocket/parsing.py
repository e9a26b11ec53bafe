"""JSON from a stranger."""

from __future__ import annotations

import json
from typing import Any

from dwebsocket import _engine

__all__ = ("MAX_DEPTH", "from_json")

#: Levels of arrays and objects that a message may have. Whoever gets the value may walk
#: it by recursion, and has room for so much, on small stacks, too.
MAX_DEPTH = 128


def from_json(message: str | bytes, **options: Any) -> Any:
    """Return what ``json.loads()`` does, of JSON that is not too deep.

    Raises:
        ValueError: It is not JSON, or nested deeper than :data:`MAX_DEPTH`.
    """
    # Shorter ones cannot be so deep; of the others, few have so many brackets.
    if len(message) > MAX_DEPTH:
        if not isinstance(message, str):
            # As json.loads() does.
            message = message.decode(json.detect_encoding(message), "surrogatepass")
        if message.count("[") + message.count("{") > MAX_DEPTH:
            depth = _engine.json_depth(message.encode("utf-8", "surrogatepass"))
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return json.loads(message, **options)
