"""The checks of the page's app."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.checks import CheckMessage
from django.test import modify_settings, override_settings
from django.urls import include, path

from dwebsocket.contrib.monitor.checks import check_monitor, check_urls


def _ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_a_site_with_everything() -> None:
    assert check_monitor() == []
    assert check_urls() == []


@modify_settings(INSTALLED_APPS={"remove": ["django.contrib.admin", "dwebsocket"]})
def test_missing_apps() -> None:
    assert _ids(check_monitor()) == ["dwebsocket.E031", "dwebsocket.E039"]


def _urls(*patterns: Any) -> Any:
    return override_settings(ROOT_URLCONF=type("Urls", (), {"urlpatterns": patterns}))


def test_urls_that_hide_the_page() -> None:
    page = path("admin/websockets/", include("dwebsocket.contrib.monitor.urls"))
    others = path("admin/", admin.site.urls)
    with _urls(others, page):
        (warning,) = check_urls()
        assert warning.id == "dwebsocket.W032"
        assert warning.msg.startswith("/admin/websockets/ does not lead")
    with _urls(page, others):
        assert check_urls() == []
    with _urls(others):
        assert check_urls() == []


def test_urls_that_cannot_be_loaded() -> None:
    with override_settings(ROOT_URLCONF="tests.no_such_module"):
        assert check_urls() == []
