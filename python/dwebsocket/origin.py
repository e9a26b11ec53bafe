"""The Origin check: which web pages may open a WebSocket here.

Browsers let any page connect anywhere and send the visitor's cookies along, so the
server has to ask where the page came from (RFC 6455 section 10.2).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from django.conf import settings as django_settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.utils.http import is_same_domain

__all__ = ("allowed", "explain", "problem")

_PORTS = {"http": 80, "https": 443}

#: Origins without a host: of sandboxed frames, and of pages in files (some web views).
_HOSTLESS = ("null", "file://")

#: An origin as browsers write it (RFC 6454 section 6.2), and nothing before or after.
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\.)"
    r"(?::(?P<port>[1-9][0-9]{0,4}|\*))?",
    re.ASCII,
)

#: Names of the computer itself.
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]+){3}|0\.0\.0\.0|\[::1?\]")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class Origin(NamedTuple):
    """An origin, or a pattern of the settings that stands for several.

    Args:
        scheme: "https" and the like; or one of those without a host, whole.
        host: In lowercase; of a pattern with subdomains, what comes after "*".
        port: Its port, the scheme's own if it names none; 0 if there is none.
        any_port: Whether every port is meant.
    """

    scheme: str
    host: str = ""
    port: int = 0
    any_port: bool = False


def _parse(text: str) -> Origin | None:
    """Return an origin in its parts; None if it is not one."""
    if text in _HOSTLESS:
        return Origin(text)
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, host, port = match.group("scheme", "host", "port")
    if host == "." and scheme in _PORTS:
        return None  # "app://." is the origin of many pages in Electron
    numeric = scheme in _PORTS and _NUMBER.fullmatch(host.rstrip(".").split(".")[-1])
    try:
        if host.startswith("["):
            host = f"[{IPv6Address(host[1:-1])}]"
        elif numeric:
            IPv4Address(host)
    except AddressValueError:
        return None
    if port == "*":
        return Origin(scheme, host, any_port=True)
    if port is not None and int(port) > 65_535:
        return None
    return Origin(scheme, host, int(port) if port else _PORTS.get(scheme, 0))


def _read(header: str) -> Origin | None:
    """Return what an Origin header says; None if it is not one origin."""
    origin = _parse(header.lower())
    return None if origin is None or origin.any_port else origin


@functools.lru_cache(maxsize=256)
def _pattern(text: str) -> Origin | None:
    """Return an entry of the settings in its parts; None if it is not one."""
    text = text.lower()
    if text not in _HOSTLESS:
        # So it is copied from a browser's address bar.
        text = text.removesuffix("/")
    if "://*." not in text:
        return _parse(text)
    found = _parse(text.replace("://*.", "://", 1))
    if found is None or not found.host or found.host.startswith("["):
        return None
    return found._replace(host=f".{found.host}")


def problem(text: str) -> str:
    """Return what is wrong with an origin of the settings, or ""."""
    if text == "*" or _pattern(text) is not None:
        return ""
    if "@" in text:
        # Not repeated: it may be a password.
        return "an origin has no name or password before its host"
    shown = ascii(text)
    if "://" not in text:
        return f"{shown} has no scheme: 'https://example.com' has one"
    rest = text.split("://", 1)[1]
    if "*" in re.sub(r"^\*\.|:\*/?$", "", rest):
        return (
            f"{shown} has a '*' that stands for nothing: 'https://*.example.com' means "
            "all subdomains, 'http://localhost:*' all ports"
        )
    if re.search(r"[/?#]", rest.removesuffix("/")):
        return f"{shown} goes on after the host and the port, where an origin ends"
    if not text.isascii():
        return f"{shown} is not ASCII: browsers write such a host as 'xn--...'"
    return f"{shown} is not an origin, such as 'https://example.com:8443'"


def _host(request: HttpRequest) -> Origin | None:
    """Return the host that a request was sent to; None if Django refuses it.

    Its port is 0 where it names none.
    """
    try:
        text = request.get_host().lower()
    except DisallowedHost:
        return None
    # No scheme of the web, so that no port is filled in.
    return _parse(f"host://{text}")


def _same_host(origin: Origin, request: HttpRequest) -> bool:
    """Whether the page came from the host that the request was sent to.

    A port that the origin leaves out is its scheme's default. The request's scheme is
    not certain, since a proxy may have taken the TLS off, so that a Host without a
    port matches either default.
    """
    host = _host(request)
    if host is None or origin.host != host.host:
        return False
    if origin.scheme not in _PORTS:
        return False
    if request.is_secure() and origin.scheme != "https":
        # A page that anybody on the way could have changed.
        return False
    return origin.port == (host.port or _PORTS[origin.scheme])


def _matches(origin: Origin, patterns: Iterable[str]) -> bool:
    """Whether a list of origins, as in ``CSRF_TRUSTED_ORIGINS``, has this one."""
    for text in patterns:
        pattern = _pattern(text)
        if pattern is None or pattern.scheme != origin.scheme:
            continue
        if not pattern.any_port and pattern.port != origin.port:
            continue
        if pattern.host == origin.host or is_same_domain(origin.host, pattern.host):
            return True
    return False


def _trusted() -> list[str]:
    """Return what Django trusts; to it, a port is never "*"."""
    return [
        text
        for text in django_settings.CSRF_TRUSTED_ORIGINS
        if not text.rstrip("/").endswith(":*")
    ]


def allowed(request: HttpRequest, origins: Iterable[str] = ()) -> bool:
    """Return whether a handshake's Origin header is acceptable.

    No header is: only browsers send one, and only browsers have somebody's cookies.

    Args:
        request: The handshake.
        origins: Origins allowed beside the site's own and those of
            ``CSRF_TRUSTED_ORIGINS``; ``"*"`` allows every one.
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
    """Return a client's text in a form that a line of a log can take."""
    text = text if len(text) <= length else f"{text[:length]}..."
    return text if text.isascii() and text.isprintable() and text else ascii(text)


def explain(request: HttpRequest) -> str:
    """Return why a page may not connect: what was compared, and what helps."""
    value = request.META.get("HTTP_ORIGIN", "")
    origin = _read(value)
    start = f"A page from {_shown(value)} may not open a WebSocket here."
    if origin is None:
        return (
            f"{start} This is not an origin (scheme://host or scheme://host:port), so "
            "that no setting but '*' can allow it."
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


_ADD = "If such pages should, add {} to DWEBSOCKET['ALLOWED_ORIGINS']{}."


def _cure(request: HttpRequest, origin: Origin) -> str:
    """Return what would let a page of this origin connect."""
    if origin.scheme == "null":
        return (
            "Browsers say 'null' for a page that was opened as a file, and in a "
            "sandboxed frame: open the page by http, from this site. "
            + _ADD.format("'null'", " (any site can connect then, from such a frame)")
        )
    if not origin.host:
        return _ADD.format(repr(origin.scheme), "")
    host = _host(request)
    if host is not None and host.host == origin.host and origin.scheme in _PORTS:
        if request.is_secure() and origin.scheme == "http":
            return (
                "The page came by http and could have been changed on its way: serve "
                "it by https. Where it came by https, the proxy's header that "
                "SECURE_PROXY_SSL_HEADER names is wrong."
            )
        if not host.port:
            return (
                "Only the port differs. If a proxy has dropped it, let it pass the "
                "Host header on whole (nginx: proxy_set_header Host $http_host;)."
            )
    return _host_cure(request, origin)


def _host_cure(request: HttpRequest, origin: Origin) -> str:
    """Return what helps where the host is not the one that the browser knows."""
    meta = request.META
    forwarded = meta.get("HTTP_X_FORWARDED_HOST")
    if forwarded and not django_settings.USE_X_FORWARDED_HOST:
        return (
            f"A proxy says X-Forwarded-Host: {_shown(forwarded)}, which Django reads "
            "with USE_X_FORWARDED_HOST = True only. Set that, or let the proxy pass "
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
            "`ws://${location.host}/...`)), or open the page by the name that the "
            f"script has. {add}"
        )
    if ours or proxied:
        return (
            "If it is this site's own page, the proxy has replaced the Host header: "
            "let it pass that on (nginx: proxy_set_header Host $http_host;), and tell "
            f"Django of the TLS (SECURE_PROXY_SSL_HEADER). {add}"
        )
    return (
        f"{add} If it is this site's own page, a proxy has replaced the Host header "
        "(nginx: proxy_set_header Host $http_host;)."
    )


def _two_names(origin: Origin, host: Origin) -> bool:
    """Whether one port of this computer was called by two of its names."""
    return (
        origin.scheme in _PORTS
        and origin.port == (host.port or _PORTS[origin.scheme])
        and all(_LOOPBACK.fullmatch(each.host) for each in (origin, host))
    )


def _text(origin: Origin) -> str:
    port = "" if origin.port == _PORTS.get(origin.scheme, 0) else f":{origin.port}"
    return f"{origin.scheme}://{origin.host}{port}"
