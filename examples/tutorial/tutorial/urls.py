"""A page for each of the two views, and the views."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView, TemplateView

from tutorial.views import ws_chat, ws_test

urlpatterns = [
    path("", RedirectView.as_view(url="/echo/")),
    path("echo/", TemplateView.as_view(template_name="echo.html")),
    path("chat/", TemplateView.as_view(template_name="chat.html")),
    path("ws/test/", ws_test),
    path("ws/chat/", ws_chat),
]
