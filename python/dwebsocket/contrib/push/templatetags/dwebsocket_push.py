"""``{% load dwebsocket_push %}{% push_notifications %}``."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context
from django.urls import reverse

__all__ = ("push_notifications",)

register = template.Library()


@register.inclusion_tag("dwebsocket/push/notifications.html", takes_context=True)
def push_notifications(context: Context) -> dict[str, Any]:
    """Connect the page: ``notification`` events come to its document.

    Nothing is rendered for a visitor who is not logged in.
    """
    request = getattr(context, "request", None) or context.get("request")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    current = getattr(getattr(request, "resolver_match", None), "namespace", None)
    return {"url": reverse("dwebsocket_push:socket", current_app=current)}
