"""Headers that a view or an application gives to the answer of its handshake."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from http.cookies import Morsel, SimpleCookie
from typing import Any, SupportsIndex

from django.http import HttpResponse

from dwebsocket import _engine
from dwebsocket.websocket.pending import Headers

__all__ = ("OF_HOPS", "RawCookie", "add", "checked")

#: Headers that belong to the server's hop: no application may send them (PEP 3333).
OF_HOPS = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)

#: Headers that a 101 does not have, because it has no body.
_OF_BODIES = frozenset({"content-length", "content-type"})

#: Attributes of cookies that have no value.
_FLAGS = frozenset({"httponly", "partitioned", "secure"})


def checked(
    handshake: _engine.Handshake, subprotocol: str | None, headers: Headers | None
) -> list[tuple[str, str]]:
    """Return the headers of a 101 as pairs of text, when it can be sent with them.

    Args:
        handshake: The client's handshake.
        subprotocol: The subprotocol of the 101, or None.
        headers: The headers.

    Raises:
        ValueError: The client does not offer the subprotocol (RFC 6455 section 4.2.2
            forbids to choose it), the handshake or the server determines one of the
            headers, or HTTP does not allow it.
        TypeError: A name or a value is not a str.
    """
    if subprotocol is not None and subprotocol not in handshake.protocols:
        raise ValueError(
            f"The client does not offer the subprotocol {subprotocol!r}. It offers "
            f"{handshake.protocols!r}."
        )
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    found = []
    for name, value in pairs:
        if not (isinstance(name, str) and isinstance(value, str)):
            raise TypeError(f"headers are pairs of str, not {(name, value)!r}")
        _check_name(name)
        found.append((name, value))
    # This checks names and values.
    handshake.response(subprotocol, found)
    add(HttpResponse(), found)
    return found


def _check_name(name: str) -> None:
    lower = name.lower()
    if lower in OF_HOPS | _OF_BODIES or lower.startswith("sec-websocket-"):
        more = (
            " Use accept(subprotocol=...)." if lower == "sec-websocket-protocol" else ""
        )
        raise ValueError(f"The handshake itself determines {name}.{more}")


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
