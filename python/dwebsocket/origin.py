"""The Origin check: which web pages may open a WebSocket here.

Browsers let any page connect anywhere and send the visitor's cookies along, so the
server has to ask where the page came from (RFC 6455 section 10.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.utils.http import is_same_domain

__all__ = ("allowed",)

_PORTS = {"http": 80, "https": 443}


def _split(origin: str) -> SplitResult | None:
    try:
        parts = urlsplit(origin)
        parts.port  # noqa: B018  (raises ValueError where it is not a number)
    except ValueError:
        return None
    return parts if parts.scheme and parts.hostname else None


def _same_host(origin: SplitResult, request: HttpRequest) -> bool:
    """Whether the page came from the host that the request was sent to.

    A port that the origin leaves out is its scheme's default. The request's scheme is
    not certain, since a proxy may have taken the TLS off, so that a Host without a
    port matches either default.
    """
    try:
        host = _split(f"http://{request.get_host().lower()}")
    except DisallowedHost:
        return False
    if host is None or origin.hostname != host.hostname:
        return False
    if origin.scheme not in _PORTS:
        return False
    if request.is_secure() and origin.scheme != "https":
        # A page that anybody on the way could have changed.
        return False
    port = origin.port or _PORTS[origin.scheme]
    if host.port is None:
        return port == _PORTS[origin.scheme]
    return port == host.port


def _matches(origin: SplitResult, patterns: Iterable[str]) -> bool:
    """Whether a list of origins, as in ``CSRF_TRUSTED_ORIGINS``, has this one."""
    for pattern in patterns:
        parts = _split(pattern.replace("*", "", 1) if "://*." in pattern else pattern)
        if parts is None or parts.scheme != origin.scheme:
            continue
        default = _PORTS.get(parts.scheme)
        if (parts.port or default) != (origin.port or default):
            continue
        if is_same_domain(origin.hostname or "", parts.hostname or ""):
            return True
    return False


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
    origin = _split(value.lower())
    if origin is None:
        return False
    return (
        _same_host(origin, request)
        or _matches(origin, origins)
        or _matches(origin, django_settings.CSRF_TRUSTED_ORIGINS)
    )
