"""Empty: each test brings its own URLs."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
