"""The way in: the client, middleware, refusals."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from dwebsocket.backends.default.factory import WebSocketFactory
from dwebsocket.exceptions import ConfigurationError, WebSocketException
from dwebsocket.testing import WebSocketRefused, connect

from . import views

HERE = __name__
SEEN: list[str] = []


def with_cookie(get_response: Any) -> Any:
    def answer(request: Any) -> Any:
        SEEN.append("request")
        response = get_response(request)
        response.set_cookie("seen", "yes")
        response["X-Seen"] = "yes"
        return response

    return answer


def refusing(get_response: Any) -> Any:
    return lambda request: HttpResponse("go away", status=418)


def replacing(get_response: Any) -> Any:
    def answer(request: Any) -> Any:
        get_response(request)
        return HttpResponse("replaced", status=403)

    return answer


def wrapping(get_response: Any) -> Any:
    def answer(request: Any) -> Any:
        response = get_response(request)
        return StreamingHttpResponse(iter(response), status=response.status_code)

    return answer


def failing(get_response: Any) -> Any:
    def answer(request: Any) -> Any:
        raise ValueError("the middleware has failed")

    return answer


def opening(get_response: Any) -> Any:
    def answer(request: Any) -> Any:
        websocket = WebSocketFactory(request).create_websocket()
        websocket.accept_connection()
        request.websocket = websocket
        return get_response(request)

    return answer


def middleware(*names: str) -> Any:
    return override_settings(MIDDLEWARE=[f"{HERE}.{name}" for name in names])


class TestRequest:
    @pytest.mark.parametrize("offer", ["v1", ["v1"], ["v3", "v1"]])
    def test_subprotocols(self, client: Client, offer: Any) -> None:
        with connect(client, "/spoken/", subprotocols=offer) as ws:
            assert ws.subprotocol == ws.receive() == "v1"

    def test_no_subprotocol(self, client: Client) -> None:
        with connect(client, "/echo/") as ws:
            assert ws.subprotocol is None

    @pytest.mark.parametrize(
        ("options", "key", "value"),
        [
            ({"headers": {"X-Token": "abc"}}, "HTTP_X_TOKEN", "abc"),
            ({"HTTP_X_TOKEN": "abc"}, "HTTP_X_TOKEN", "abc"),
            ({"REMOTE_ADDR": "192.0.2.1"}, "REMOTE_ADDR", "192.0.2.1"),
            ({"origin": "http://testserver"}, "HTTP_ORIGIN", "http://testserver"),
            ({"secure": True}, "secure", "True"),
            ({}, "secure", "False"),
            ({}, "HTTP_ORIGIN", "None"),
        ],
    )
    def test_what_the_view_sees(
        self, client: Client, options: dict[str, Any], key: str, value: str
    ) -> None:
        with connect(client, "/about/?a=b", **options) as ws:
            ws.send(key)
            assert ws.receive() == value

    def test_the_query(self, client: Client) -> None:
        with connect(client, "/about/?a=b") as ws:
            ws.send("QUERY_STRING")
            assert ws.receive() == "a=b"

    def test_the_clients_own_defaults(self) -> None:
        with connect(Client(HTTP_X_TOKEN="abc"), "/about/") as ws:
            ws.send("HTTP_X_TOKEN")
            assert ws.receive() == "abc"

    def test_an_asynchronous_client_has_its_cookies(self) -> None:
        client = AsyncClient()
        client.cookies = SimpleCookie({"name": "value"})
        with connect(client, "/about/") as ws:
            ws.send("HTTP_COOKIE")
            assert ws.receive() == "name=value"

    def test_the_client_stays_as_it_is(self, client: Client) -> None:
        before = dict(vars(client)), dict(vars(client.handler))
        with connect(client, "/echo/"):
            pass
        assert (dict(vars(client)), dict(vars(client.handler))) == before
        assert client.get("/plain/").content == b"plain"


class TestMiddleware:
    def test_sees_the_request_and_the_response(self, client: Client) -> None:
        SEEN.clear()
        with middleware("with_cookie"), connect(client, "/echo/") as ws:
            assert SEEN == ["request"]
            assert ws.headers["x-seen"] == ws.response["X-Seen"] == "yes"
            assert "seen=yes" in ws.headers["Set-Cookie"]
            assert ws.response.status_code == 101
        assert client.cookies["seen"].value == "yes"

    def test_may_wrap_the_response(self, client: Client) -> None:
        with middleware("wrapping"), connect(client, "/echo/") as ws:
            ws.send("hello")
            assert ws.receive() == "hello"

    @pytest.mark.parametrize(
        ("name", "status", "body"),
        [("refusing", 418, b"go away"), ("replacing", 403, b"replaced")],
    )
    def test_may_refuse(
        self, client: Client, name: str, status: int, body: bytes
    ) -> None:
        with (
            middleware(name),
            pytest.raises(WebSocketRefused) as refused,
            connect(client, "/echo/"),
        ):
            pytest.fail("the block was entered")
        assert (refused.value.status, refused.value.body) == (status, body)

    def test_may_not_open_it_in_the_thread_of_the_test(self, client: Client) -> None:
        with (
            middleware("opening"),
            pytest.raises(ConfigurationError, match="Test it over a live server"),
        ):
            connect(client, "/inline/")

    def test_may_fail(self, client: Client) -> None:
        with (
            middleware("failing"),
            pytest.raises(ValueError, match="the middleware has failed"),
        ):
            connect(client, "/echo/")

    def test_a_failure_is_an_answer_if_the_client_says_so(self) -> None:
        client = Client(raise_request_exception=False)
        with middleware("failing"), pytest.raises(WebSocketRefused) as refused:
            connect(client, "/echo/")
        assert refused.value.status == 500


class TestRefusals:
    def test_have_status_headers_and_body(self, client: Client) -> None:
        with pytest.raises(WebSocketRefused, match="refused with 403") as refused:
            connect(client, "/echo/", origin="https://evil.example")
        error = refused.value
        assert error.status == 403
        assert error.headers["content-type"].startswith("text/plain")
        assert b"evil.example" in error.body
        assert "evil.example" in error.text
        assert error.response.status_code == 403
        assert isinstance(error, WebSocketException)

    @pytest.mark.parametrize("path", ["/plain/", "/nowhere/", "/classic"])
    def test_of_what_is_no_websocket(self, client: Client, path: str) -> None:
        with pytest.raises(WebSocketRefused) as refused:
            connect(client, path)
        assert refused.value.status == {"/plain/": 200}.get(path, 404) or 301

    def test_json(self) -> None:
        response = HttpResponse(b'{"a": 1}')
        assert WebSocketRefused(response, response.content).json() == {"a": 1}

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Sec-WebSocket-Version": "7"}, 426),
            ({"Sec-WebSocket-Key": "short"}, 400),
        ],
    )
    def test_of_a_wrong_handshake(
        self, client: Client, headers: dict[str, str], status: int
    ) -> None:
        with pytest.raises(WebSocketRefused) as refused:
            connect(client, "/echo/", headers=headers)
        assert refused.value.status == status

    def test_at_the_limit(self, client: Client, quiet: int) -> None:
        with (
            override_settings(DWEBSOCKET={"MAX_CONNECTIONS": 1}),
            connect(client, "/echo/"),
            pytest.raises(WebSocketRefused) as refused,
        ):
            connect(client, "/echo/")
        assert refused.value.status == 503


HANDSHAKE = {
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_UPGRADE": "websocket",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


def test_a_plain_get_says_in_one_line_what_to_use(client: Client) -> None:
    response = client.get("/echo/", **HANDSHAKE)
    assert response.status_code == 501
    (line,) = response.content.decode().splitlines()
    assert "dwebsocket.testing.connect(client, path)" in line


def test_so_does_a_request_of_the_factory() -> None:
    response = views.echo(RequestFactory().get("/echo/", **HANDSHAKE))
    assert b"dwebsocket.testing" in response.content


class TestRestFramework:
    def test_its_client_keeps_its_user(self) -> None:
        rest = pytest.importorskip("rest_framework.test")
        from django.contrib.auth.models import User

        client = rest.APIClient()
        client.force_authenticate(user=User(username="ana"))
        client.credentials(HTTP_AUTHORIZATION="Token abc")
        with connect(client, "/about/") as ws:
            ws.send("HTTP_AUTHORIZATION")
            assert ws.receive() == "Token abc"
        with connect(client, "/rest/") as ws:
            assert ws.receive() == "ana"
