"""Makes the scope of an application out of Django's request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from django.http import HttpRequest

from dwebsocket.asgi.protocol import EXTENSION, Scope
from dwebsocket.exceptions import ConfigurationError

__all__ = ("ASGI", "scope_of")

#: The versions of ASGI, and of its specification of WebSockets, that applications get.
ASGI = {"version": "3.0", "spec_version": "2.4"}

#: Where WSGI servers keep the target of the request as the client has sent it.
_RAW = ("RAW_URI", "REQUEST_URI")
#: Headers whose keys in the environ have no HTTP_ at the beginning.
_BARE = ("CONTENT_TYPE", "CONTENT_LENGTH")


def scope_of(
    request: HttpRequest,
    subprotocols: list[str],
    kwargs: Mapping[str, Any],
    mount: str | None,
) -> Scope:
    """Return the scope of a handshake.

    Call this in the request's thread: it reads the user and the session.

    Args:
        request: The handshake.
        subprotocols: The subprotocols that the client offers.
        kwargs: The arguments that Django's URLs have found in the path.
        mount: The name of the argument that has the application's part of the path;
            None: the application gets the path of the site.

    Raises:
        ConfigurationError: There is no such argument at the end of the path.
    """
    meta = request.META
    scope: Scope = {
        "type": "websocket",
        "asgi": dict(ASGI),
        "http_version": "1.1",
        "scheme": "wss" if request.is_secure() else "ws",
        "path": request.path,
        "raw_path": _raw_path(request),
        "query_string": str(meta.get("QUERY_STRING") or "").encode("latin-1"),
        "root_path": _root_path(request, kwargs, mount),
        "headers": list(_headers(meta)),
        "client": _address(meta, "REMOTE_ADDR", "REMOTE_PORT"),
        "server": _address(meta, "SERVER_NAME", "SERVER_PORT"),
        "subprotocols": subprotocols,
        "extensions": {EXTENSION: {}, "dwebsocket": {"request": request}},
        # What routers of Channels and of Starlette put there.
        "url_route": {"args": (), "kwargs": dict(kwargs)},
        "path_params": dict(kwargs),
    }
    scope.update(_visitor(request))
    return scope


def _visitor(request: Any) -> dict[str, Any]:
    """Return the user and the session, where Django's middleware has set them."""
    found = {}
    if hasattr(request, "session"):
        found["session"] = request.session
    user = getattr(request, "user", None)
    if user is not None:
        # Found now, in a thread that may ask the database.
        bool(user.is_authenticated)
        found["user"] = user
    return found


def _root_path(
    request: HttpRequest, kwargs: Mapping[str, Any], mount: str | None
) -> str:
    if mount is None:
        return request.path.removesuffix(request.path_info)
    rest = kwargs.get(mount)
    if not isinstance(rest, str) or not request.path.endswith(rest):
        raise ConfigurationError(
            f"as_view(mount={mount!r}) needs a URL that ends with this argument: "
            f"path('live/<path:{mount}>', ...)."
        )
    return request.path.removesuffix(rest).rstrip("/")


def _raw_path(request: HttpRequest) -> bytes:
    """Return the path as the client has sent it, without the query."""
    path = request.path.encode("utf-8", "surrogateescape")
    scope: Scope = getattr(request, "scope", {})
    given: bytes = scope.get("raw_path") or b""
    for key in _RAW:
        given = given or str(request.META.get(key) or "").encode("latin-1", "replace")
    raw = given.partition(b"?")[0]
    # A server, or a middleware, may have changed the path meanwhile.
    return raw if unquote_to_bytes(raw) == path else quote(path).encode()


def _headers(meta: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for key, value in meta.items():
        if key.startswith("HTTP_"):
            name = key[5:]
        elif key in _BARE and value:
            name = key
        else:
            continue
        yield (
            name.replace("_", "-").lower().encode("latin-1"),
            str(value).encode("latin-1", "replace"),
        )


def _address(meta: Mapping[str, Any], host: str, port: str) -> tuple[str, int] | None:
    found, number = str(meta.get(host) or ""), str(meta.get(port) or "")
    if not found:
        return None
    return found, int(number) if number.isdigit() else 0
