"""The types of :mod:`dwebsocket.push`; only type checkers import this.

With ``on_commit=True``, a push returns None: nothing has been sent yet. The parameters
of each type are what a call returns at once, with ``on_commit=True``, and with an
``on_commit`` that is not known before.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeVar, overload

from .hub.messages import Excluded, User

__all__ = ("Disconnect", "ToAll", "ToGroup", "ToUser")

Now = TypeVar("Now", covariant=True)
Later = TypeVar("Later", covariant=True)
Either = TypeVar("Either", covariant=True)


class ToGroup(Protocol[Now, Later, Either]):
    """The type of ``to_group()`` and its async twin."""

    @overload
    def __call__(
        self,
        name: str,
        message: Any,
        *,
        exclude: Excluded | None = None,
        on_commit: Literal[False] = False,
        using: str | None = None,
    ) -> Now: ...
    @overload
    def __call__(
        self,
        name: str,
        message: Any,
        *,
        exclude: Excluded | None = None,
        on_commit: Literal[True],
        using: str | None = None,
    ) -> Later: ...
    @overload
    def __call__(
        self,
        name: str,
        message: Any,
        *,
        exclude: Excluded | None = None,
        on_commit: bool,
        using: str | None = None,
    ) -> Either: ...


class ToUser(Protocol[Now, Later, Either]):
    """The type of ``to_user()`` and its async twin."""

    @overload
    def __call__(
        self,
        user: User,
        message: Any,
        *,
        on_commit: Literal[False] = False,
        using: str | None = None,
    ) -> Now: ...
    @overload
    def __call__(
        self,
        user: User,
        message: Any,
        *,
        on_commit: Literal[True],
        using: str | None = None,
    ) -> Later: ...
    @overload
    def __call__(
        self,
        user: User,
        message: Any,
        *,
        on_commit: bool,
        using: str | None = None,
    ) -> Either: ...


class ToAll(Protocol[Now, Later, Either]):
    """The type of ``to_all()`` and its async twin."""

    @overload
    def __call__(
        self,
        message: Any,
        *,
        on_commit: Literal[False] = False,
        using: str | None = None,
    ) -> Now: ...
    @overload
    def __call__(
        self,
        message: Any,
        *,
        on_commit: Literal[True],
        using: str | None = None,
    ) -> Later: ...
    @overload
    def __call__(
        self,
        message: Any,
        *,
        on_commit: bool,
        using: str | None = None,
    ) -> Either: ...


class Disconnect(Protocol[Now, Later, Either]):
    """The type of ``disconnect()`` and its async twin."""

    @overload
    def __call__(
        self,
        user: User,
        code: int = 4001,
        reason: str = "",
        *,
        on_commit: Literal[False] = False,
        using: str | None = None,
    ) -> Now: ...
    @overload
    def __call__(
        self,
        user: User,
        code: int = 4001,
        reason: str = "",
        *,
        on_commit: Literal[True],
        using: str | None = None,
    ) -> Later: ...
    @overload
    def __call__(
        self,
        user: User,
        code: int = 4001,
        reason: str = "",
        *,
        on_commit: bool,
        using: str | None = None,
    ) -> Either: ...
