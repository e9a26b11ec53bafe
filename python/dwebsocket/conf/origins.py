"""Origins, and the patterns in the settings that match several origins."""

from __future__ import annotations

import functools
import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

__all__ = ("PORTS", "Origin", "parse", "pattern", "problem")

PORTS = {"http": 80, "https": 443}

#: Origins without a host: browsers send "null" for sandboxed frames, and some web views
#: send "file://" for pages in files.
_HOSTLESS = ("null", "file://")

#: A whole origin as browsers write it (RFC 6454 section 6.2); the port of a pattern may
#: be "*".
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\.)"
    r"(?::(?P<port>[1-9][0-9]{0,4}|\*))?",
    re.ASCII,
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class Origin(NamedTuple):
    """An origin, or a pattern in the settings that matches several origins.

    Args:
        scheme: The scheme, such as "https"; the whole text of an origin without a host.
        host: The host in lowercase. In a pattern for subdomains ("*.example.com"), the
            part after "*".
        port: The port; the scheme's default if the text names none; 0 if the scheme has
            no default.
        any_port: Whether the pattern matches every port.
    """

    scheme: str
    host: str = ""
    port: int = 0
    any_port: bool = False


def parse(text: str) -> Origin | None:
    """Parse an origin; None if the text is not one."""
    if text in _HOSTLESS:
        return Origin(text)
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, host, port = match.group("scheme", "host", "port")
    if host == "." and scheme in PORTS:
        return None  # "." is a host only in other schemes: Electron sends "app://."
    numeric = scheme in PORTS and _NUMBER.fullmatch(host.rstrip(".").split(".")[-1])
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
    return Origin(scheme, host, int(port) if port else PORTS.get(scheme, 0))


@functools.lru_cache(maxsize=256)
def pattern(text: str) -> Origin | None:
    """Parse an origin or a pattern in the settings; None if the text is neither."""
    text = text.lower()
    if text not in _HOSTLESS:
        # An address that is copied from a browser's address bar ends with a slash.
        text = text.removesuffix("/")
    if "://*." not in text:
        return parse(text)
    found = parse(text.replace("://*.", "://", 1))
    if found is None or not found.host or found.host.startswith("["):
        return None
    return found._replace(host=f".{found.host}")


def problem(text: str) -> str:
    """Return what is wrong with an origin in the settings; "" if it is valid."""
    if text == "*" or pattern(text) is not None:
        return ""
    if "@" in text:
        # The message leaves the text out: it may contain a password.
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
