"""The types of settings of views; written by tools/view_options.py."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

__all__ = (
    "Compression",
    "Dialect",
    "Overflow",
    "ViewAttributes",
    "ViewOptions",
)

Compression: TypeAlias = Literal["shared", "dedicated", "off"]

Dialect: TypeAlias = Literal["classic", "modern"]

Overflow: TypeAlias = Literal["auto", "close", "drop_oldest", "drop_newest", "block"]


class ViewAttributes:
    """The settings of ``DWEBSOCKET`` that a class with handlers has as attributes.

    They are those of :class:`ViewOptions`, and ``dialect``. None has a value here.
    """

    dialect: Dialect | None
    allowed_origins: list[str] | tuple[str, ...]
    overflow: Overflow
    send_timeout: float
    gone_timeout: float | None
    cancel_on_disconnect: bool
    accept_timeout: float
    max_message_size: int
    max_frame_size: int | None
    max_fragments: int
    ping_interval: float | None
    ping_timeout: float
    handshake_timeout: float
    close_timeout: float
    idle_timeout: float | None
    inbox_messages: int
    inbox_bytes: int
    outbox_messages: int
    outbox_bytes: int
    compression: Compression | bool
    compression_threshold: int
    compression_level: int
    recheck_interval: float | None


class ViewOptions(TypedDict, total=False):
    """The settings of ``DWEBSOCKET`` that a decorator takes as arguments.

    All but ``dialect``, which decides on the type of the view's request. The meaning of
    each is in docs/settings.md.
    """

    allowed_origins: list[str] | tuple[str, ...]
    overflow: Overflow
    send_timeout: float
    gone_timeout: float | None
    cancel_on_disconnect: bool
    accept_timeout: float
    max_message_size: int
    max_frame_size: int | None
    max_fragments: int
    ping_interval: float | None
    ping_timeout: float
    handshake_timeout: float
    close_timeout: float
    idle_timeout: float | None
    inbox_messages: int
    inbox_bytes: int
    outbox_messages: int
    outbox_bytes: int
    compression: Compression | bool
    compression_threshold: int
    compression_level: int
    recheck_interval: float | None
