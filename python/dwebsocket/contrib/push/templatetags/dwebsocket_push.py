"""``{% load dwebsocket_push %}{% push_notifications %}``."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from dwebsocket.conf.sections import socket_address

__all__ = ("push_notifications",)

register = template.Library()


@register.inclusion_tag("dwebsocket/push/notifications.html", takes_context=True)
def push_notifications(context: Context) -> dict[str, Any]:
    """Connect the page: its document gets ``notification`` events.

    Nothing is rendered for a visitor who is not logged in.
    """
    request = getattr(context, "request", None) or context.get("request")
    if request is None:
        return {"no_request": True}
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    return {"url": socket_address("push", request)}
