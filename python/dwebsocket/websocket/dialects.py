"""The two dialects: what a view gets when it asks a WebSocket that has no message.

A dialect is a constant: a table without state and without input or output. Each kind of
WebSocket, synchronous or not, acts on the same two tables.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ("CLASSIC", "MODERN", "Answer", "Dialect", "End")


class End(enum.Enum):
    """How a conversation is over, as its view knows it."""

    #: The connection has ended, and no call of the view has met the end yet.
    UNTOLD = enum.auto()
    #: A call has met the end.
    TOLD = enum.auto()
    #: The view has closed the WebSocket itself.
    CLOSED = enum.auto()


class Answer(enum.Enum):
    """The answer to a call that finds no message after the end."""

    #: There is nothing: None, the caller's ``fallback``, or a count of 0.
    NOTHING = enum.auto()
    #: The end counts as the last message: None.
    LAST = enum.auto()
    #: The call raises :exc:`EOFError`.
    REFUSED = enum.auto()


class Dialect(NamedTuple):
    """One dialect.

    Args:
        binary: How ``send()`` sends ``bytes``. True: as a binary message. None: as text
            if they are valid UTF-8, else as binary.
        wait: The answer of ``wait()`` at each kind of end.
        ask: The answer of calls that never block: ``read()``, ``count_messages()``.
        over: The kinds of end at which ``is_closed()`` is True.
        yields_end: Whether iteration yields a last None.
    """

    binary: bool | None
    wait: Mapping[End, Answer]
    ask: Mapping[End, Answer]
    over: frozenset[End]
    yields_end: bool

    def is_text(self, message: str | bytes) -> bool:
        """Return whether a message that has arrived counts as text."""
        if isinstance(message, str) or self.binary:
            return isinstance(message, str)
        try:
            message.decode()
        except UnicodeDecodeError:
            return False
        return True


#: The dialect of the old package: text arrives as bytes, and the end is one None.
CLASSIC = Dialect(
    binary=None,
    wait={
        End.UNTOLD: Answer.LAST,
        End.TOLD: Answer.REFUSED,
        End.CLOSED: Answer.NOTHING,
    },
    ask={
        End.UNTOLD: Answer.LAST,
        End.TOLD: Answer.REFUSED,
        End.CLOSED: Answer.REFUSED,
    },
    over=frozenset({End.TOLD, End.CLOSED}),
    yields_end=True,
)

#: Text arrives as str, and nothing is raised at the end.
MODERN = Dialect(
    binary=True,
    wait=dict.fromkeys(End, Answer.NOTHING),
    ask=dict.fromkeys(End, Answer.NOTHING),
    over=frozenset(End),
    yields_end=False,
)
