"""The page itself, the link to it, and who gets them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import override_settings

from dwebsocket import testing
from dwebsocket.contrib.monitor.words import words
from dwebsocket.testing import WebSocketRefused

from .conftest import LIVE, client_of, user

PAGE = "/admin/websockets/"
SCRIPTS = ("monitor", "columns", "confirm", "pager", "table", "words")


class _Tags(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))


def test_staff_get_the_page(eve) -> None:
    response = client_of(eve).get(PAGE)
    assert response.status_code == 200
    assert f'data-socket="{LIVE}"' in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert response.context["title"] == "WebSockets"


@pytest.mark.parametrize("name", [None, "li"])
def test_others_have_to_log_in(name) -> None:
    client = client_of(user(name) if name else None)
    response = client.get(PAGE)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/?next=")
    with pytest.raises(WebSocketRefused) as refused, testing.connect(client, LIVE):
        pass
    assert refused.value.status == 403
    assert client.get(LIVE).status_code == 403


def test_plain_http_to_the_socket(eve) -> None:
    assert client_of(eve).get(LIVE).status_code == 426


@override_settings(DWEBSOCKET={"ALLOWED_ORIGINS": ["*"]})
def test_pages_of_other_sites_may_not_connect(eve) -> None:
    client = client_of(eve)
    with testing.connect(client, LIVE, origin="http://testserver"):
        pass
    evil = "https://evil.example"
    with (
        pytest.raises(WebSocketRefused) as refused,
        testing.connect(client, LIVE, origin=evil),
    ):
        pass
    assert refused.value.status == 403


def test_the_page_works_under_a_strict_policy(eve) -> None:
    """Nothing inline, and not a byte from elsewhere."""
    for tag, attributes in _Tags(client_of(eve).get(PAGE).content.decode()).found:
        assert tag != "style"
        if tag == "script" and attributes.get("type") != "application/json":
            assert attributes["src"]
        assert not [name for name in attributes if name == "style" or name[:2] == "on"]
        for name in ("src", "href", "action", "data-socket"):
            assert not re.match(r"(\w+:)?//", attributes.get(name) or "")


def test_the_files_ask_for_nothing_from_elsewhere() -> None:
    for name in (*[f"{script}.js" for script in SCRIPTS], "monitor.css", "link.css"):
        with open(finders.find(f"dwebsocket/monitor/{name}")) as file:
            text = file.read()
        assert not re.search(
            r"https?:|@import|url\(|innerHTML|insertAdjacentHTML", text
        )


def test_every_text_of_the_script_is_there_and_used() -> None:
    named, quoted = set(), set()
    for script in SCRIPTS:
        with open(finders.find(f"dwebsocket/monitor/{script}.js")) as file:
            text = file.read()
        named |= set(re.findall(r"words\(\"(\w+)\"", text))
        quoted |= set(re.findall(r"\"(\w+)\"", text))
    # The states of a process come from the server.
    states = {"ok", "silent", "stopping"}
    assert named <= words().keys()
    assert words().keys() - quoted == states


def test_the_texts_can_be_translated(eve) -> None:
    client = client_of(eve)
    with override_settings(LANGUAGE_CODE="de"):
        # Django's own catalogue has some of the words.
        text = client.get(PAGE).content.decode()
    assert 'lang="de"' in text
    assert "Schließen" in text


def test_the_admins_first_page_links_to_it(eve) -> None:
    response = client_of(eve).get("/admin/")
    assert f'<a href="{PAGE}" class="section">' in response.content.decode()


def test_without_its_urls_there_is_no_link(eve) -> None:
    from django.contrib import admin
    from django.urls import path

    patterns = [path("admin/", admin.site.urls)]
    with override_settings(ROOT_URLCONF=type("Urls", (), {"urlpatterns": patterns})):
        response = client_of(eve).get("/admin/")
    assert response.status_code == 200
    assert "dwebsocket-monitor" not in response.content.decode()


def test_names_from_strangers_are_escaped() -> None:
    strange = user("<script>alert(1)</script>", is_staff=True)
    text = client_of(strange).get(PAGE).content.decode()
    assert "<script>alert" not in text
