"""The scope of an application; tests/servers/test_apps.py has it of real servers."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from dwebsocket.asgi.apps.scope import scope_of
from dwebsocket.exceptions import ConfigurationError


def scope(path: str = "/a/b", **extra: Any) -> Any:
    """Return the scope of a request."""
    options = {name: extra.pop(name, None) for name in ("kwargs", "mount")}
    request = RequestFactory().get(path, **extra)
    return scope_of(request, ["one"], options["kwargs"] or {}, options["mount"])


def test_the_head() -> None:
    found = scope("/gr%C3%BC%C3%9Fe/?a=%C3%BC", HTTP_X_Y="1", CONTENT_TYPE="")
    assert found["type"] == "websocket"
    assert found["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert found["path"] == "/grüße/"
    assert found["raw_path"] == b"/gr%C3%BC%C3%9Fe/"
    assert found["query_string"] == b"a=%C3%BC"
    assert (b"x-y", b"1") in found["headers"]
    assert not [name for name, _ in found["headers"] if name == b"content-type"]
    assert found["client"] == ("127.0.0.1", 0)
    assert found["server"] == ("testserver", 80)
    assert found["scheme"] == "ws"
    assert found["subprotocols"] == ["one"]
    assert isinstance(found["extensions"]["dwebsocket"]["request"], HttpRequest)
    assert "websocket.http.response" in found["extensions"]
    assert "user" not in found
    assert "session" not in found


def test_a_secure_request() -> None:
    assert scope(**{"wsgi.url_scheme": "https"})["scheme"] == "wss"


def test_a_unix_socket_has_no_client() -> None:
    assert scope(REMOTE_ADDR="")["client"] is None


@pytest.mark.parametrize("key", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize(
    ("given", "raw"),
    [
        ("/a%2Fb?x=y", b"/a%2Fb"),
        ("/a/b", b"/a/b"),
        # Another path than the one that Django has: a middleware has changed it.
        ("/other", b"/a/b"),
        ("http://host/a/b", b"/a/b"),
        ("", b"/a/b"),
    ],
)
def test_the_path_as_it_was_sent(key: str, given: str, raw: bytes) -> None:
    assert scope("/a/b", **{key: given})["raw_path"] == raw


def test_the_prefix_of_the_site_is_the_root() -> None:
    found = scope("/b", SCRIPT_NAME="/site")
    assert (found["root_path"], found["path"]) == ("/site", "/site/b")
    assert scope("/b")["root_path"] == ""


def test_the_applications_part_of_the_path() -> None:
    found = scope("/live/x/y", kwargs={"rest": "x/y"}, mount="rest")
    assert (found["root_path"], found["path"]) == ("/live", "/live/x/y")
    assert found["path_params"] == found["url_route"]["kwargs"] == {"rest": "x/y"}


@pytest.mark.parametrize("kwargs", [{}, {"rest": "other"}, {"rest": 7}])
def test_a_mount_that_does_not_fit(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"path\('live/<path:rest>', \.\.\.\)"):
        scope("/live/7", kwargs=kwargs, mount="rest")
