"""Two pages, and the chat's WebSocket."""

from __future__ import annotations

from django.urls import include, path

from chatsite import views

urlpatterns = [
    path("", views.lobby),
    path("rooms/<str:room>/", views.page, name="room"),
    path("chat/", include("dwebsocket.contrib.chat.urls")),
]
