"""``{% load dwebsocket_monitor %}{% websockets_link %}``."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse

__all__ = ("websockets_link",)

register = template.Library()


@register.inclusion_tag("dwebsocket/monitor/link.html")
def websockets_link() -> dict[str, Any]:
    """Show a link to the page, if the project's URLs have it."""
    try:
        return {"url": reverse("dwebsocket_monitor:page")}
    except NoReverseMatch:
        return {}
