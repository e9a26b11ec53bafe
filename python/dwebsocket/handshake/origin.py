"""The Origin check: which web pages may open a WebSocket here.

A browser lets any page open a WebSocket to any server and sends the visitor's cookies
along, so the server has to check the page's origin (RFC 6455 section 10.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.conf import settings as django_settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.utils.http import is_same_domain

from dwebsocket.conf.origins import PORTS, Origin, parse, pattern

__all__ = ("allowed", "explain")

#: Names of the computer itself.
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]+){3}|0\.0\.0\.0|\[::1?\]")


def _read(header: str) -> Origin | None:
    """Parse an Origin header; None if it is not a single origin."""
    origin = parse(header.lower())
    return None if origin is None or origin.any_port else origin


def _host(request: HttpRequest) -> Origin | None:
    """Return the host that a request was sent to; None if Django refuses the host.

    The port is 0 if the Host header names none.
    """
    try:
        text = request.get_host().lower()
    except DisallowedHost:
        return None
    # "host" is not a scheme of the web, so that parse() fills in no default port.
    return parse(f"host://{text}")


def _same_host(origin: Origin, request: HttpRequest) -> bool:
    """Return whether the page came from the host that the request was sent to.

    An origin without a port means its scheme's default port. The request's scheme is
    not certain, because a proxy may have ended the TLS; so a Host header without a port
    matches the default port of either scheme.
    """
    host = _host(request)
    if host is None or origin.host != host.host:
        return False
    if origin.scheme not in PORTS:
        return False
    if request.is_secure() and origin.scheme != "https":
        # A page that came by plain HTTP may have been changed on its way.
        return False
    return origin.port == (host.port or PORTS[origin.scheme])


def _matches(origin: Origin, patterns: Iterable[str]) -> bool:
    """Return whether an origin matches a list such as ``CSRF_TRUSTED_ORIGINS``."""
    for text in patterns:
        found = pattern(text)
        if found is None or found.scheme != origin.scheme:
            continue
        if not found.any_port and found.port != origin.port:
            continue
        if found.host == origin.host or is_same_domain(origin.host, found.host):
            return True
    return False


def _trusted() -> list[str]:
    """Return ``CSRF_TRUSTED_ORIGINS`` without ":*", which Django takes literally."""
    return [
        text
        for text in django_settings.CSRF_TRUSTED_ORIGINS
        if not text.rstrip("/").endswith(":*")
    ]


def allowed(request: HttpRequest, origins: Iterable[str] = ()) -> bool:
    """Return whether a handshake's Origin header is acceptable.

    A handshake without the header is acceptable: browsers always send it, and only
    browsers send a visitor's cookies for another site's page.

    Args:
        request: The handshake.
        origins: Origins allowed beside the site's own and those of
            ``CSRF_TRUSTED_ORIGINS``; ``"*"`` allows every origin.
    """
    value = request.META.get("HTTP_ORIGIN")
    if value is None:
        return True
    origins = tuple(origins)
    if "*" in origins:
        return True
    origin = _read(value)
    if origin is None:
        return False
    return (
        _same_host(origin, request)
        or _matches(origin, origins)
        or _matches(origin, _trusted())
    )


def _shown(text: str, length: int = 200) -> str:
    """Return a client's text in printable ASCII, cut, for one line of a log."""
    text = text if len(text) <= length else f"{text[:length]}..."
    return text if text.isascii() and text.isprintable() and text else ascii(text)


def explain(request: HttpRequest) -> str:
    """Return why a page may not connect: the compared values, and the remedy."""
    value = request.META.get("HTTP_ORIGIN", "")
    origin = _read(value)
    start = f"A page from {_shown(value)} may not open a WebSocket here."
    if origin is None:
        return (
            f"{start} This is not an origin (scheme://host or scheme://host:port), so "
            "only the setting '*' can allow it."
        )
    try:
        host = request.get_host()
    except DisallowedHost:
        host = request.META.get("HTTP_HOST", "")
        return (
            f"{start} The host of this request is {_shown(host)}, which ALLOWED_HOSTS "
            f"does not allow. {_host_cure(request, origin)}"
        )
    scheme = "https" if request.is_secure() else "http"
    return (
        f"{start} Its origin is neither that of this request, which came to the host "
        f"{_shown(host)} by {scheme}, nor in DWEBSOCKET['ALLOWED_ORIGINS'] or "
        f"CSRF_TRUSTED_ORIGINS. {_cure(request, origin)}"
    )


_ADD = "To allow such pages, add {} to DWEBSOCKET['ALLOWED_ORIGINS']{}."


def _cure(request: HttpRequest, origin: Origin) -> str:
    """Return a remedy: what would let a page of this origin connect."""
    if origin.scheme == "null":
        return (
            "Browsers say 'null' for a page that was opened as a file, and in a "
            "sandboxed frame: open the page by http, from this site. "
            + _ADD.format("'null'", " (then any site can connect from such a frame)")
        )
    if not origin.host:
        return _ADD.format(repr(origin.scheme), "")
    host = _host(request)
    if host is not None and host.host == origin.host and origin.scheme in PORTS:
        if request.is_secure() and origin.scheme == "http":
            return (
                "The page came by http and could have been changed on its way: serve "
                "it by https. If it did come by https, the proxy's header that "
                "SECURE_PROXY_SSL_HEADER names is wrong."
            )
        if not host.port:
            return (
                "Only the port differs. If a proxy has dropped it, let the proxy pass "
                "the whole Host header on (nginx: proxy_set_header Host $http_host;)."
            )
    return _host_cure(request, origin)


def _host_cure(request: HttpRequest, origin: Origin) -> str:
    """Return a remedy for a request whose Host header differs from the page's host."""
    meta = request.META
    forwarded = meta.get("HTTP_X_FORWARDED_HOST")
    if forwarded and not django_settings.USE_X_FORWARDED_HOST:
        return (
            f"A proxy says X-Forwarded-Host: {_shown(forwarded)}, which Django reads "
            "only with USE_X_FORWARDED_HOST = True. Set this, or let the proxy pass "
            "the Host header on (nginx: proxy_set_header Host $http_host;)."
        )
    name = origin.host
    ours = any(
        pattern not in ("*", ".") and is_same_domain(name, pattern.lower())
        for pattern in django_settings.ALLOWED_HOSTS
    )
    proxied = any(
        meta.get(f"HTTP_{header}")
        for header in ("X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_REAL_IP", "FORWARDED")
    )
    add = _ADD.format(repr(_text(origin)), " (or CSRF_TRUSTED_ORIGINS)")
    host = _host(request)
    if host is not None and not proxied and _two_names(origin, host):
        return (
            f"For a browser, {name} and {host.host} are two sites: let the page's "
            "script connect to location.host (new WebSocket("
            "`ws://${location.host}/...`)), or open the page with the name that the "
            f"script uses. {add}"
        )
    if ours or proxied:
        return (
            "If it is this site's own page, the proxy has replaced the Host header: "
            "let the proxy pass it on (nginx: proxy_set_header Host $http_host;), and "
            f"tell Django of the TLS (SECURE_PROXY_SSL_HEADER). {add}"
        )
    return (
        f"{add} If it is this site's own page, a proxy has replaced the Host header "
        "(nginx: proxy_set_header Host $http_host;)."
    )


def _two_names(origin: Origin, host: Origin) -> bool:
    """Return whether page and request use two loopback names with the same port."""
    return (
        origin.scheme in PORTS
        and origin.port == (host.port or PORTS[origin.scheme])
        and all(_LOOPBACK.fullmatch(each.host) for each in (origin, host))
    )


def _text(origin: Origin) -> str:
    port = "" if origin.port == PORTS.get(origin.scheme, 0) else f":{origin.port}"
    return f"{origin.scheme}://{origin.host}{port}"
