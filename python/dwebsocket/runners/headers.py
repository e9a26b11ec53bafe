"""Headers that a view or an application gives to the answer of its handshake."""

from __future__ import annotations

from collections.abc import Container, Iterable
from http.cookies import Morsel, SimpleCookie
from typing import Any, SupportsIndex

from django.http import HttpResponse

__all__ = ("RawCookie", "add")

#: Attributes of cookies that have no value.
_FLAGS = frozenset({"httponly", "partitioned", "secure"})


def add(response: HttpResponse, headers: Iterable[tuple[str, str]]) -> None:
    """Add headers to a response, which keeps those of middleware apart.

    Args:
        response: The response.
        headers: The headers. Values of one name are joined (RFC 9110 section 5.3), but
            for cookies: each of them is sent as it is.
    """
    for name, value in headers:
        if name.lower() == "set-cookie":
            cookie = RawCookie(value)
            # There may be several of one name, for several paths.
            key = value if cookie.key in response.cookies else cookie.key
            response.cookies[key] = cookie
        elif name in response:
            response[name] = f"{response[name]}, {value}"
        else:
            response[name] = value


class RawCookie(Morsel[Any]):
    """A cookie that is sent as it was given, also where Python knows no such cookie.

    Middleware may still give it attributes, or another value.

    Args:
        line: The value of the header ``Set-Cookie``.
    """

    #: None: the cookie has got another value, and is one like others.
    _line: str | None = None

    def __init__(self, line: str) -> None:
        super().__init__()
        pair, *attributes = line.split(";")
        name, equals, coded = pair.partition("=")
        if not equals:  # a cookie without a name
            name, coded = "", pair
        value, coded = SimpleCookie().value_decode(coded.strip())
        # set() would refuse the names that Python does not know.
        plain: Any = super()
        plain.__setstate__({"key": name.strip(), "value": value, "coded_value": coded})
        for attribute in attributes:
            key, equals, text = attribute.strip().partition("=")
            if self.isReservedKey(key) and (equals or key.lower() in _FLAGS):
                super().__setitem__(key, text if equals else True)
        self._line = line

    def set(self, key: str, val: Any, coded_val: str) -> None:
        """Give the cookie another value."""
        super().set(key, val, coded_val)
        self._line = None

    def __setitem__(self, key: str, value: Any) -> None:
        """Give the cookie an attribute; the last one of a name counts (RFC 6265)."""
        super().__setitem__(key, value)
        if self._line is not None:
            only: Morsel[Any] = Morsel()
            only.set("x", "", "")
            only[key] = value
            self._line += only.OutputString().removeprefix("x=")

    def OutputString(self, attrs: Container[str] | None = None) -> str:
        """Return the value of the header."""
        return super().OutputString(attrs) if self._line is None else self._line

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Return what makes a copy."""
        if self._line is None:
            return super().__reduce_ex__(protocol)
        return RawCookie, (self._line,)
