"""The headers that an application gives to the answer of a handshake."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from dwebsocket.asgi import as_view

#: Cookies of which Python knows not all, two of one name among them.
COOKIES = ["a=1; Partitioned", "b=1; Path=/", "b=2; Path=/x", 'j={"x":1}', "é=ü", "k"]
SENT = [(b"set-cookie", cookie.encode("latin-1")) for cookie in COOKIES]


class CookiesOfMiddleware:
    """Sets a cookie, and gives an attribute to another one."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        response.cookies["a"]["samesite"] = "None"
        response.set_cookie("j", "new")
        return response


async def accepts(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    more = [(b"link", b"1"), (b"x-a", b"a"), (b"Link", b"2")]
    await send({"type": "websocket.accept", "headers": SENT + more})


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    start = {"type": "websocket.http.response.start", "status": 401}
    more = [(b"connection", b"close"), (b"te", b"trailers"), (b"link", b"1")]
    await send({**start, "headers": SENT + more})
    await send({"type": "websocket.http.response.body", "body": b"no"})


def cookies_of(headers: Any) -> list[str]:
    found: list[str] = headers.get_all("Set-Cookie")
    return [cookie.strip() for cookie in found]


def decoded(text: str) -> str:
    """Return a header as it was sent, however the client has read its bytes."""
    return text.encode("latin-1", "surrogateescape").decode("latin-1")


def test_an_acceptance_has_all_cookies_and_headers(site: Any) -> None:
    with site({"": as_view(accepts)}).connect() as peer:
        headers = peer.response.headers
        assert [decoded(cookie) for cookie in cookies_of(headers)] == COOKIES
        assert headers["Link"] == "1, 2"
        assert headers["X-A"] == "a"


def test_a_refusal_has_all_cookies(site: Any) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        site({"": as_view(refuses)}).connect(),
    ):
        pass
    response = refused.value.response
    assert (response.status_code, response.body) == (401, b"no")
    assert [decoded(cookie) for cookie in cookies_of(response.headers)] == COOKIES
    assert response.headers["Link"] == "1"


@pytest.mark.parametrize("app", [accepts, refuses])
def test_middleware_may_change_them(site: Any, app: Any) -> None:
    running = site({"": as_view(app)}, MIDDLEWARE=[f"{__name__}.CookiesOfMiddleware"])
    try:
        with running.connect() as peer:
            headers = peer.response.headers
    except InvalidStatus as refused:
        headers = refused.response.headers
    assert cookies_of(headers)[:4] == [
        "a=1; Partitioned; SameSite=None",
        "b=1; Path=/",
        "b=2; Path=/x",
        "j=new; Path=/",
    ]


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ((b"connection", b"close"), "itself determines connection"),
        ((b"Content-Length", b"3"), "itself determines Content-Length"),
        ((b"sec-websocket-protocol", b"a"), r"Use accept\(subprotocol="),
        ((b"sec-websocket-extensions", b"a"), "determines sec-websocket-extensions"),
        ((b"te", b"trailers"), "itself determines te"),
        ((b"x y", b"1"), "x y"),
        ((b"", b"1"), "header"),
        ((b"\xe9", b"1"), "header"),
        ((b"x-a", b"\x7f"), "x-a"),
        ((b"set-cookie", b"a=1\x01"), "set-cookie"),
    ],
)
def test_a_101_that_cannot_be_sent_is_an_error_of_send(
    site: Any, header: tuple[bytes, bytes], match: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        with pytest.raises(ValueError, match=match):
            await send({"type": "websocket.accept", "headers": [header]})
        # It may still be accepted.
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "open"})

    with site({"": as_view(app)}).connect() as peer:
        assert peer.recv(timeout=20) == "open"


def test_a_refusal_that_cannot_be_sent_is_an_error_of_send(site: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        start = {"type": "websocket.http.response.start", "status": 401}
        with pytest.raises(ValueError, match="x y"):
            await send({**start, "headers": [(b"x y", b"1")]})
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "open"})

    with site({"": as_view(app)}).connect() as peer:
        assert peer.recv(timeout=20) == "open"
