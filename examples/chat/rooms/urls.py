"""The page of a room, and the WebSocket behind it."""

from __future__ import annotations

from django.urls import path

from rooms import views

urlpatterns = [
    path("", views.lobby, name="lobby"),
    path("rooms/<str:room>/", views.page, name="room"),
    path("ws/rooms/<str:room>/", views.talk, name="talk"),
]
