"""ASGI applications as views, on every server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .client import WsClient, eventually
from .harness import Server
from .pool import Pool
from .reports import Channel
from .specs import ASGI_SPECS, CONTRACT, SPECS

everywhere = pytest.mark.parametrize("server", [*SPECS, *ASGI_SPECS], indirect=True)
servers = pytest.mark.parametrize("server", CONTRACT, indirect=True)


def ask(client: WsClient, what: str, **options: Any) -> Any:
    """Have the application do something; return its answer."""
    client.send(json.dumps({"do": what, **options}))
    return json.loads(client.receive())


def forget(server: Server) -> None:
    """Forget the log, when the access log has the answers so far."""
    assert server.get("/ping").body == b"pong"
    server.begin()


# Messages.


@everywhere
def test_an_application_echoes(server: Server, report: Channel):
    clients = [server.open("/apps/talk") for _ in range(3)]
    for number in range(20):
        for client in clients:
            client.send(f"text {number}")
            client.send(b"\xff%d" % number)
        for client in clients:
            assert client.receive() == f"text {number}"
            assert client.receive() == b"\xff%d" % number
    last = server.open(f"/apps/talk?key={report.key}")
    report.expect("accepted")
    last.close()
    report.expect("disconnected")
    assert report.expect("late") == "WebSocketClosed"
    for client in clients:
        client.close()


@servers
def test_synchronous_calls_run_before_and_after_the_opening(server: Server):
    clients = [server.open("/apps/talk?how=query") for _ in range(4)]
    for _ in range(3):
        for client in clients:
            client.send(json.dumps({"do": "query"}))
        assert [client.receive() for client in clients] == ["42"] * 4
    for client in clients:
        client.close()


@servers
def test_to_send_waits_for_room(server: Server):
    """The outbox would be full otherwise, and the connection closed with 1013."""
    client = server.open("/apps/talk")
    client.send(json.dumps({"do": "flood", "count": 300}))
    assert server.get("/ping").body == b"pong"
    for number in range(300):
        assert client.receive() == f"{number:100000}"
    client.close()


@servers
def test_it_is_a_member_like_any_view(server: Server):
    client = server.open("/apps/talk")
    ask(client, "join", group="apps")
    assert server.get("/kinds/publish?group=apps").status == 200
    assert client.receive() == "m"
    client.close()


@servers
def test_it_gets_the_scope(server: Server):
    client = server.open(
        "/apps/gr%C3%BC%C3%9Fe/7/?a=%20b",
        [
            ("X-Word", "gr\xfc\xdfe"),
            ("Cookie", "a=b; c=d"),
            ("Sec-WebSocket-Protocol", "one, two"),
        ],
    )
    assert client.response.get("Sec-WebSocket-Protocol") == "two"
    assert client.response.get("X-From") == "the app"
    scope = ask(client, "scope")
    headers = scope.pop("headers")
    assert headers["x-word"] == "gr\xfc\xdfe"
    assert headers["cookie"] == "a=b; c=d"
    assert headers["sec-websocket-version"] == "13"
    assert headers["upgrade"] == "websocket"
    assert scope == {
        "type": "websocket",
        "path": "/apps/grüße/7/",
        "raw_path": "/apps/gr%C3%BC%C3%9Fe/7/",
        "root_path": "",
        "query": "a=%20b",
        "scheme": "ws",
        "http_version": "1.1",
        "subprotocols": ["one", "two"],
        "kwargs": {"number": 7},
        "client": "int",
        "user": "AnonymousUser",
        "life": ["startup", "a pool"],
        "thread": scope["thread"],
    }
    client.close()


@servers
def test_it_is_mounted_below_a_path(server: Server):
    client = server.open("/apps/mounted/room/7?x=y")
    scope = ask(client, "scope")
    assert (scope["root_path"], scope["path"]) == (
        "/apps/mounted",
        "/apps/mounted/room/7",
    )
    client.close()


# The handshake.


@pytest.mark.parametrize("server", [*SPECS, "uvicorn", "hypercorn"], indirect=True)
def test_it_refuses_with_a_status_of_its_own(server: Server, report: Channel):
    refusal = server.client().refused(f"/apps/talk?how=response&key={report.key}")
    assert refusal.status == 418
    assert refusal.get("X-Tea") == "green"
    assert refusal.get("Content-Type") == "text/x-tea"
    assert "cup=full" in (refusal.get("Set-Cookie") or "")
    assert refusal.body == b"short and stout"
    assert report.expect("disconnected") == [1006, ""]
    server.logged(r"WebSocket refused \(418\): /apps/talk")


@servers
def test_to_close_before_the_opening_is_403(server: Server, report: Channel):
    refusal = server.client().refused(f"/apps/talk?how=close&key={report.key}")
    assert (refusal.status, refusal.body) == (403, b"not today")
    assert report.expect("disconnected") == [1006, ""]
    server.logged(r"WebSocket refused \(403\): /apps/talk .*not today")


@servers
def test_an_exception_before_the_opening_is_500(server: Server):
    assert server.client().refused("/apps/talk?how=raise").status == 500
    server.logged("the application's own mistake")
    assert server.client().refused("/apps/talk?how=return").status == 500
    server.logged("has ended, and has neither accepted nor refused")
    forget(server)


@servers
def test_an_application_that_never_answers_is_cancelled(
    server: Server, report: Channel
):
    refusal = server.client().refused(f"/apps/talk?how=never&key={report.key}")
    assert refusal.status == 503
    report.expect("cancelled")
    server.logged(r"WebSocket refused \(503\).*ACCEPT_TIMEOUT")
    server.open("/apps/talk").close()
    forget(server)


@pytest.mark.parametrize(
    "server", ["gunicorn-gevent", "gunicorn-gthread-8"], indirect=True
)
def test_others_are_served_while_an_application_decides(
    server: Server, report: Channel
):
    waiting = server.client()
    path = f"/apps/talk?how=never&key={report.key}"
    waiting.sendall(waiting.handshake(path))
    report.expect("deciding")
    assert server.get("/ping").body == b"pong"
    client = server.open("/apps/talk")
    client.send("hello")
    assert client.receive() == "hello"
    client.close()
    assert report.none()
    assert waiting.read_response().status == 503
    forget(server)


@servers
def test_the_origin_is_checked(server: Server):
    client = server.open("/apps/strict", [("Origin", "https://good.example")])
    client.close()
    refusal = server.client().refused("/apps/strict", [("Origin", "https://evil.org")])
    assert refusal.status == 403
    server.logged("evil.org")


@servers
def test_plain_http_is_426(server: Server):
    assert server.get("/apps/talk").status == 426
    server.logged("Upgrade Required: /apps/talk: tests.servers.site.apps.talk")


@servers
def test_an_application_that_cannot_start_says_so(server: Server):
    for _ in range(2):
        assert server.client().refused("/apps/failing").status == 500
        server.logged(
            r"tests.servers.site.apps.failing could not start \(lifespan\): no database"
        )
    forget(server)


@servers
def test_a_wrong_mount_is_explained(server: Server):
    assert server.client().refused("/apps/wrong/7").status == 500
    server.logged(r"as_view\(mount='rest'\) needs a URL that ends with this argument")
    forget(server)


# The end.


@pytest.mark.parametrize("server", SPECS, indirect=True)
def test_it_gets_the_code_and_the_reason(server: Server, report: Channel):
    client = server.open(f"/apps/talk?key={report.key}")
    assert client.close(4001, "bye").close_code == 4001
    assert report.expect("disconnected") == [4001, "bye"]


@servers
def test_the_application_closes(server: Server, report: Channel):
    client = server.open(f"/apps/talk?key={report.key}")
    client.send(json.dumps({"do": "close", "with": {"code": 4003, "reason": "enough"}}))
    frame = client.answer_close()
    assert (frame.close_code, frame.close_reason) == (4003, "enough")
    assert report.expect("disconnected")[0] == 4003
    assert report.expect("late") == "WebSocketClosed"


@servers
def test_an_application_that_returns_closes_with_1000(server: Server):
    client = server.open("/apps/talk")
    client.send(json.dumps({"do": "return"}))
    assert client.answer_close().close_code == 1000


@servers
def test_an_exception_is_logged_and_closes_with_1011(server: Server):
    client = server.open("/apps/talk")
    client.send(json.dumps({"do": "raise"}))
    assert client.answer_close().close_code == 1011
    log = server.logged("the application's own mistake")
    assert log.count("Traceback (most recent call last)") == 1


@servers
def test_a_message_too_big_closes_with_1009(server: Server, report: Channel):
    client = server.open(f"/apps/small?key={report.key}")
    client.send("x" * 101)
    assert client.answer_close().close_code == 1009
    assert report.expect("disconnected")[0] == 1009


@servers
def test_a_lost_connection_is_1006_and_no_code_is_1005(server: Server, report: Channel):
    client = server.open(f"/apps/talk?key={report.key}")
    report.expect("accepted")
    client.drop()
    assert report.expect("disconnected") == [1006, ""]
    client = server.open(f"/apps/talk?key={report.key}")
    client.close(None)
    assert report.expect("disconnected") == [1005, ""]


@servers
def test_an_application_that_stays_is_cancelled(server: Server, report: Channel):
    client = server.open(f"/apps/talk?stay=1&key={report.key}")
    report.expect("accepted")
    client.close()
    report.expect("cancelled")
    server.logged(r"application of /apps/talk was still running 0.5 seconds after")


@servers
def test_it_may_be_cancelled_at_once(server: Server, report: Channel):
    client = server.open(f"/apps/cancelled?stay=1&key={report.key}")
    report.expect("accepted")
    client.drop()
    report.expect("cancelled")


@servers
def test_a_hundred_applications_leave_nothing(server: Server, report: Channel):
    """Those that raise, are cancelled, refuse, and whose clients are reset."""

    def round_of_all() -> None:
        for _ in range(25):
            client = server.open("/apps/talk")
            client.send(json.dumps({"do": "raise"}))
            assert client.answer_close().close_code == 1011
            with server.client() as client:
                client.refused("/apps/talk?how=close")
            client = server.open("/apps/talk?how=query")
            assert ask(client, "query") == 42
            client.reset()
            client = server.open(f"/apps/talk?stay=1&key={report.key}")
            client.close()
        for _ in range(25):
            report.expect("cancelled")

    def left() -> tuple[int, int, int]:
        worker = server.worker()
        threads = {thread.id for thread in worker.threads()}
        open_now = sum(1 for c in worker.net_connections() if c.status == "ESTABLISHED")
        return len(threads), worker.num_fds(), open_now

    round_of_all()
    before = left()
    round_of_all()
    # Threads without calls end after a moment.
    eventually(
        lambda: all(now <= then + 2 for now, then in zip(left(), before, strict=True)),
        what=f"there were {before}",
    )
    server.idle()
    forget(server)


@pytest.mark.parametrize("spec", CONTRACT)
def test_the_limit_of_connections_holds(pool: Pool, spec: str):
    server = pool.fresh(spec, settings={"DWEBSOCKET": {"MAX_CONNECTIONS": 2}})
    clients = [server.open("/apps/talk") for _ in range(2)]
    assert server.client().refused("/apps/talk").status == 503
    clients.pop().close()
    # A refusal by the application gives its place back.
    for how, status in (("close", 403), ("accept", 101), ("close", 403)):
        eventually(lambda: _status(server, how) == status)  # noqa: B023


def _status(server: Server, how: str) -> int:
    """Return the status of a handshake; leave at once if it succeeds."""
    with server.client() as client:
        client.sendall(client.handshake(f"/apps/talk?how={how}"))
        status = client.read_head().status
        if status == 101:
            client.close()
        return int(status)


@pytest.mark.parametrize("spec", CONTRACT)
def test_the_stop_of_the_process_is_1012(pool: Pool, report: Channel, spec: str):
    server = pool.fresh(
        spec, settings={"DWEBSOCKET": {"SHUTDOWN_TIMEOUT": 2, "SHUTDOWN_SPREAD": 0}}
    )
    client = server.open(f"/apps/talk?key={report.key}")
    report.expect("accepted")
    server.signal()
    assert client.read_close().close_code == 1012
    assert report.expect("disconnected")[0] == 1012
    server.wait()
    log = server.text(0)
    assert log.count("the application was told of the end") == 1
    assert "Traceback" not in log
    assert "still running" not in log


@pytest.mark.parametrize("spec", CONTRACT)
def test_the_process_may_stop_while_an_application_decides(
    pool: Pool, report: Channel, spec: str
):
    server = pool.fresh(spec)
    waiting = server.client()
    waiting.sendall(waiting.handshake(f"/apps/talk?how=never&key={report.key}"))
    report.expect("deciding")
    server.signal()
    server.wait()
    assert "Traceback" not in server.text(0)
    assert "has not ended in time" not in server.text(0)
