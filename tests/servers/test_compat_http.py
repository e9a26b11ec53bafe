"""Points 6 to 8: HTTP beside WebSocket, what views return, and who else is there."""

from __future__ import annotations

import ast
import http.cookies
import json
from typing import Any

import pytest

from .client import Response, eventually
from .harness import Server
from .specs import CONTRACT

servers = pytest.mark.parametrize("server", CONTRACT, indirect=True)
specs = pytest.mark.parametrize("spec", CONTRACT)

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
OURS = "dwebsocket.middleware.WebSocketMiddleware"


def _cookies(response: Response) -> str:
    """Return the Cookie header for what a response has set."""
    jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
    for value in response.all("Set-Cookie"):
        jar.load(value)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())


# 6. Plain HTTP, views that are not decorated, malformed handshakes


@servers
def test_require_websocket_over_http_is_an_empty_400(server: Server):
    response = server.get("/hold")
    assert (response.status, response.body) == (400, b"")
    server.logged("Bad Request")


@servers
def test_accept_websocket_over_http_runs_the_view(server: Server):
    assert server.get("/echo").body == b"please connect with a WebSocket"
    assert server.get("/modern/echo").body == b"please connect with a WebSocket"


@servers
def test_a_view_without_a_decorator_does_not_open_a_websocket(server: Server):
    assert server.client().refused("/undecorated").body == b"plain"


@specs
def test_the_middleware_refuses_a_handshake_to_an_undecorated_view(
    variant: Any, spec: str
):
    server = variant(spec, settings={"MIDDLEWARE": [*MIDDLEWARE, OURS]})
    assert server.client().refused("/undecorated").status == 400
    server.logged("decorate it with @websocket")
    assert server.get("/undecorated").body == b"plain"
    assert json.loads(server.get("/attributes").body) == {
        "has": True,
        "websocket": "None",
    }
    client = server.open("/marked")
    assert client.receive() == "opened by the middleware"
    client.answer_close()
    client = server.open("/echo")
    client.send("decorated")
    assert client.receive() == "decorated"
    client.close()


@pytest.mark.parametrize("spec", [*CONTRACT, "uvicorn"])
@pytest.mark.parametrize(
    "accept_all",
    [{"WEBSOCKET_ACCEPT_ALL": True}, {"DWEBSOCKET": {"ACCEPT_ALL": True}}],
    ids=["old-name", "new-name"],
)
def test_accept_all_opens_every_view(variant: Any, spec: str, accept_all: Any):
    server = variant(spec, settings={"MIDDLEWARE": [*MIDDLEWARE, OURS], **accept_all})
    client = server.open("/undecorated")
    assert client.receive() == "opened by the middleware"
    client.answer_close()
    assert server.get("/undecorated").body == b"plain"


@servers
def test_a_malformed_handshake_is_a_400_with_the_reason(server: Server):
    response = server.client().refused(
        "/echo", [("Sec-WebSocket-Key", "not base64 at all")]
    )
    assert response.status == 400
    assert b"Sec-WebSocket-Key" in response.body
    server.logged(r"WebSocket refused \(400\)")


# 7. Return values and exceptions


@servers
@pytest.mark.parametrize("what", ["response", "string", "none", "drf"])
def test_what_a_view_returns_is_ignored(server: Server, what: str):
    client = server.open(f"/returns?what={what}")
    assert client.receive() == "before"
    assert client.answer_close().close_code == 1000


@servers
def test_an_exception_is_logged_once_and_closes_with_1011(server: Server):
    other = server.open("/echo")
    client = server.open("/raises")
    assert client.receive() == "before"
    frame = client.answer_close()
    assert frame.close_code == 1011
    assert "mistake" not in frame.close_reason, "the view's secrets go nowhere"
    log = server.logged("ZeroDivisionError: the view's own mistake")
    assert log.count("Traceback (most recent call last)") == 1
    assert log.count("\nZeroDivisionError: the view's own mistake") == 1
    assert "/raises" in log
    other.send("untouched")
    assert other.receive() == "untouched"
    other.close()
    assert server.get("/ping").body == b"pong"


@servers
def test_a_refusal_by_exception_is_a_line_without_a_traceback(server: Server):
    client = server.open("/raises?what=denied")
    assert client.receive() == "before"
    assert client.answer_close().close_code == 1008
    log = server.logged("PermissionDenied")
    assert "Traceback" not in log


# 8. Decorators, middleware, sessions


WRAPPED = [
    *("accept-twice", "exempt-outside", "exempt-inside", "closure", "as-view"),
    *("static", "static-instance", "get", "bare-get", "dispatch", "class"),
    *("rest-get", "rest-dispatch", "rest-function-outside", "rest-function-inside"),
]
REQUIRED = ["accept-require", "require-accept"]


@servers
@pytest.mark.parametrize("name", WRAPPED + REQUIRED)
def test_every_mixture_of_decorators_opens_once(server: Server, name: str):
    client = server.open(f"/wrapped/{name}")
    assert client.receive() == "hello AnonymousUser"
    client.close()
    response = server.get(f"/wrapped/{name}")
    if name in REQUIRED:
        assert response.status == 400
        server.logged("Bad Request")
    elif name == "rest-get":
        assert response.status == 418  # what that view says
        server.logged("Teapot")
    else:
        assert response.status == 200


MIXES: dict[str, dict[str, Any]] = {
    "middleware": {"MIDDLEWARE": [*MIDDLEWARE, OURS]},
    "leftover": {"MIDDLEWARE_CLASSES": [OURS]},
    "both": {"MIDDLEWARE": [*MIDDLEWARE, OURS], "MIDDLEWARE_CLASSES": [OURS]},
    "twice": {"MIDDLEWARE": [OURS, *MIDDLEWARE, OURS]},
    "first": {"MIDDLEWARE": [OURS, *MIDDLEWARE]},
    "app": {
        "MIDDLEWARE": [*MIDDLEWARE, OURS],
        "INSTALLED_APPS": [
            *("django.contrib.contenttypes", "django.contrib.auth"),
            *("django.contrib.sessions", "dwebsocket"),
        ],
    },
    "gzip-and-etags": {
        "MIDDLEWARE": [
            "django.middleware.gzip.GZipMiddleware",
            "django.middleware.http.ConditionalGetMiddleware",
            *MIDDLEWARE,
            OURS,
        ]
    },
    "none": {"MIDDLEWARE": []},
}


@specs
@pytest.mark.parametrize("mix", MIXES)
def test_every_mixture_of_settings_opens_once(variant: Any, spec: str, mix: str):
    server = variant(spec, settings=MIXES[mix])
    paths = ["/echo", "/modern/echo"]
    if mix != "none":
        paths += [f"/wrapped/{name}" for name in ("accept-twice", "class", "rest-get")]
    for path in paths:
        client = server.open(path)
        client.send("hello")
        assert client.receive() in ("hello", "hello AnonymousUser")
        # Checks as well that there was one 101, and that nothing follows the Close.
        client.close()
    assert server.get("/echo").body == b"please connect with a WebSocket"


@servers
def test_a_view_sees_its_whole_request(server: Server):
    client = server.open(
        "/room/blue/7?x=1%2B1",
        [
            ("Cookie", "taste=salty"),
            ("X-Test", "a header"),
            ("Accept-Language", "de"),
        ],
    )
    text = client.receive()
    assert isinstance(text, str)
    seen = ast.literal_eval(text)
    assert seen == {
        "room": "blue",
        "number": 7,
        "get": "1+1",
        "cookie": "salty",
        "user": "",
        "count": None,
        "method": "GET",
        "path": "/room/blue/7",
        "host": "localhost",
        "header": "a header",
        "language": "de",
        "reverse": "/ping",
        "thread": seen["thread"],
    }
    client.close()
    assert server.get("/room/blue/7").body == b"plain"


@servers
def test_session_and_user_are_those_of_the_visitor(server: Server):
    cookie = _cookies(server.get("/login?name=grace"))
    seen = _room(server, cookie, "?add=1")
    assert (seen["user"], seen["count"]) == ("grace", 1)
    # What the view changed is saved when it has ended, which takes its own time.
    eventually(lambda: _room(server, cookie)["count"] == 2)


def _room(server: Server, cookie: str, query: str = "") -> dict[str, Any]:
    """Return what the view of a room sees of a visitor."""
    client = server.open(f"/room/blue/7{query}", [("Cookie", cookie)])
    seen: dict[str, Any] = ast.literal_eval(str(client.receive()))
    client.close()
    return seen


@servers
def test_cookies_set_by_middleware_travel_in_the_101(server: Server):
    cookie = _cookies(server.get("/login?name=grace"))
    client = server.client()
    response = client.open("/wrapped/login-inside", [("Cookie", cookie)])
    assert client.receive() == "hello grace"
    # LocaleMiddleware, SecurityMiddleware and their like have had their say.
    assert response.get("X-Content-Type-Options") == "nosniff"
    client.close()


@servers
def test_login_required_outside_redirects(server: Server):
    response = server.client().refused("/wrapped/login-outside")
    assert response.status == 302
    assert (response.get("Location") or "").startswith("/login?next=")
    cookie = _cookies(server.get("/login?name=grace"))
    client = server.open("/wrapped/login-outside", [("Cookie", cookie)])
    assert client.receive() == "hello grace"
    client.close()


@servers
def test_login_required_inside_opens_and_closes(server: Server):
    client = server.open("/wrapped/login-inside")
    assert client.answer_close().close_code == 1008
    assert "above the WebSocket's decorator" in server.logged(r"Refused \(302\)")


@servers
def test_the_same_path_serves_both(server: Server):
    for _ in range(3):
        assert server.get("/modern/echo").status == 200
        with server.open("/modern/echo") as client:
            client.send("x")
            assert client.receive() == "x"
