"""What every kind of view does under every server, but for docs/servers.md's table."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from . import frames
from .client import WsClient, eventually
from .harness import Server
from .reports import Channel
from .site.kinds import RUNS_IN

MEGABYTE = "0123456789abcdef" * 65_536


class Site(NamedTuple):
    """The views of one kind under one server.

    Args:
        server: The server.
        report: What the views report.
        kind: The kind, as in ``site.kinds.KINDS``.
    """

    server: Server
    report: Channel
    kind: str

    def url(self, name: str, **query: str) -> str:
        """Return the URL of a view, by its name."""
        return f"/kinds/{self.kind}/{name}?" + urlencode(
            {"key": self.report.key, **query}
        )

    def echo(self, name: str = "echo") -> WsClient:
        """Open a view that sends back what it gets."""
        return self.server.open(self.url(name))

    def talk(self, **headers: str) -> WsClient:
        """Open the view that does what its messages say."""
        return self.server.open(self.url("talk"), headers.items())


Behaviour = Callable[[Site], None]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    """Have a function run in every combination; its name is that of the table."""
    BEHAVIOURS[function.__name__.replace("_", " ")] = function
    return function


def do(client: WsClient, kind: str, **options: Any) -> None:
    """Tell the view ``talk`` what to do."""
    client.send(json.dumps({"do": kind, **options}))


def ends(client: WsClient) -> None:
    """Check that nothing follows the Close frame but the end of the connection."""
    # The end itself is the server's business; some end with a reset.
    with contextlib.suppress(ConnectionResetError):
        assert client.rest() == b""


# Messages.


@behaviour
def echoes_text_and_bytes(site: Site) -> None:
    client = site.echo()
    for message in ("hello", "grüße, 你好", "x" * 126, "y" * 70_000, b"\xff\x00"):
        client.send(message)
        assert client.receive() == message
    assert client.close().close_code == 1000


@behaviour
def echoes_an_empty_message(site: Site) -> None:
    client = site.echo()
    for message in ("", b""):
        client.send(message)
        assert client.receive() == message
    client.close()


@behaviour
def a_megabyte_both_ways(site: Site) -> None:
    client = site.echo("large")
    client.send(MEGABYTE)
    assert client.receive() == MEGABYTE
    client.close()


@behaviour
def a_fragmented_message(site: Site) -> None:
    client = site.echo()
    client.frame(frames.TEXT, b"one, ", fin=False)
    client.frame(frames.PING, b"between")
    client.frame(frames.CONTINUATION, b"two")
    pong = client.read_frame()
    assert (pong.opcode, pong.payload) == (frames.PONG, b"between")
    assert client.receive() == "one, two"
    client.close()


@behaviour
def a_flood_comes_back_in_order(site: Site) -> None:
    client = site.echo()
    count = 3_000
    sent = b"".join(
        frames.encode(frames.TEXT, str(number).encode()) for number in range(count)
    )
    client.sendall(sent)
    for number in range(count):
        assert client.receive() == str(number)
    assert site.server.get("/ping").body == b"pong"
    client.close()


@behaviour
def many_connections_leave_http_alone(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(site.echo()) for _ in range(60)]
        assert site.server.get("/ping").body == b"pong"
        assert site.server.post("/upload", b"x" * 100_000).status == 200
        for number, client in enumerate(clients):
            client.send(f"client {number}")
        for number, client in enumerate(clients):
            assert client.receive() == f"client {number}"


# The request.


@behaviour
def the_view_sees_the_request(site: Site) -> None:
    client = site.talk(Cookie="flavour=sweet", **{"User-Agent": "test"})
    seen = site.report.expect("open")
    assert seen["path"] == site.url("talk")
    assert (seen["method"], seen["scheme"], seen["secure"]) == ("GET", "http", False)
    assert (seen["agent"], seen["cookie"]) == ("test", "sweet")
    assert seen["address"][0] == client.sock.getsockname()[0]
    client.close()


@behaviour
def the_peers_port_is_known(site: Site) -> None:
    client = site.talk()
    assert site.report.expect("open")["address"] == list(client.sock.getsockname())
    client.close()


@behaviour
def a_login_is_seen(site: Site) -> None:
    response = site.server.get("/login?name=grace")
    [cookie] = [c for c in response.all("Set-Cookie") if c.startswith("sessionid=")]
    client = site.talk(Cookie=cookie.partition(";")[0])
    seen = site.report.expect("open")
    assert (seen["user"], seen["count"]) == ("grace", 1)
    client.close()


@behaviour
def the_subprotocol_is_chosen(site: Site) -> None:
    client = site.talk(**{"Sec-WebSocket-Protocol": "first, second"})
    assert client.response is not None
    assert client.response.get("Sec-WebSocket-Protocol") == "second"
    assert site.report.expect("open")["subprotocol"] == "second"
    client.close()


@behaviour
def the_headers_of_the_response_are_sent(site: Site) -> None:
    client = site.talk()
    assert client.response is not None
    assert client.response.get("X-Content-Type-Options") == "nosniff"
    client.close()


@behaviour
def no_subprotocol_is_made_up(site: Site) -> None:
    client = site.talk()
    assert client.response is not None
    assert client.response.get("Sec-WebSocket-Protocol") is None
    assert site.report.expect("open")["subprotocol"] is None
    client.close()


# The end.


@behaviour
def the_peers_close_reaches_the_view(site: Site) -> None:
    client = site.talk()
    client.sendall(frames.encode_close(4321, "so long"))
    assert site.report.expect("closed")[0] == 4321
    site.report.expect("end")


@behaviour
def the_peers_close_is_answered_with_its_code(site: Site) -> None:
    client = site.talk()
    client.sendall(frames.encode_close(4321, "so long"))
    assert client.read_close().close_code == 4321
    ends(client)


@behaviour
def the_peers_reason_reaches_the_view(site: Site) -> None:
    client = site.talk()
    client.sendall(frames.encode_close(4321, "so long"))
    assert site.report.expect("closed") == [4321, "so long"]


@behaviour
def the_views_close_reaches_the_peer(site: Site) -> None:
    client = site.talk()
    do(client, "close", code=4002, reason="enough")
    frame = client.read_close()
    assert (frame.close_code, frame.close_reason) == (4002, "enough")
    site.report.expect("end")
    client.sendall(frames.encode_close(4002))
    ends(client)


@behaviour
def a_view_that_returns_closes_with_1000(site: Site) -> None:
    client = site.talk()
    do(client, "return")
    assert client.read_close().close_code == 1000
    site.report.expect("end")


@behaviour
def a_view_that_raises_closes_with_1011(site: Site) -> None:
    client = site.talk()
    do(client, "raise")
    assert client.read_close().close_code == 1011
    assert "RuntimeError: on purpose" in site.server.logged("on purpose")


@behaviour
def a_view_that_refuses_closes_with_1008(site: Site) -> None:
    client = site.talk()
    do(client, "refuse")
    assert client.read_close().close_code == 1008
    assert "on purpose" in site.server.logged("on purpose")


@behaviour
def a_message_that_is_too_big_closes_with_1009(site: Site) -> None:
    client = site.echo()
    client.send("x" * (2 << 20))
    assert client.read_close().close_code == 1009


@behaviour
def a_peer_that_vanishes_ends_the_view(site: Site) -> None:
    for going in (WsClient.drop, WsClient.reset):
        client = site.talk()
        site.report.expect("open")
        going(client)
        site.report.expect("end")
    assert site.server.get("/ping").body == b"pong"


@behaviour
def a_peer_that_vanishes_is_seen_as_1006(site: Site) -> None:
    client = site.talk()
    site.report.expect("open")
    client.drop()
    assert site.report.expect("closed") == [1006, ""]


@behaviour
def a_peer_that_vanishes_in_the_handshake_does_no_harm(site: Site) -> None:
    for _ in range(5):
        client = site.server.client()
        client.sendall(client.handshake(site.url("talk")))
        client.reset()
    assert site.server.get("/ping").body == b"pong"
    echoes_text_and_bytes(site)
    # A server may have something to say about it.
    site.server.begin()


@behaviour
def a_slow_reader_is_closed(site: Site) -> None:
    client = site.talk()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    do(client, "pour", size=200_000)
    assert site.report.expect("poured") is False
    # Nobody else waits for it.
    assert site.server.get("/ping").body == b"pong"
    site.report.expect("end")


@behaviour
def descriptors_come_back(site: Site) -> None:
    worker = site.server.worker()
    for _ in range(2):
        site.echo().close()
    eventually(lambda: True)
    before = worker.num_fds()
    clients = [site.echo() for _ in range(20)]
    assert worker.num_fds() > before
    for number, client in enumerate(clients):
        (client.drop, client.reset, client.close)[number % 3]()
    eventually(
        lambda: worker.num_fds() <= before,
        what=f"{worker.num_fds()} descriptors after {before}",
    )


# Others.


@behaviour
def a_push_reaches_the_members_of_a_group(site: Site) -> None:
    group = f"g{site.report.key}"
    clients = [site.talk() for _ in range(10)]
    for client in clients:
        do(client, "join", group=group)
        assert client.receive() == "joined"
    sent = json.loads(site.server.get(f"/kinds/publish?group={group}&size=100").body)
    assert sent == {"local": 10, "dropped": 0}
    for client in clients:
        assert client.receive() == "m" * 100
    clients.pop().close()
    counted = f"/kinds/members?group={group}"
    eventually(lambda: json.loads(site.server.get(counted).body) == {"count": 9})


@behaviour
def a_push_reaches_a_user(site: Site) -> None:
    response = site.server.get(f"/login?name={site.report.key}")
    [cookie] = [c for c in response.all("Set-Cookie") if c.startswith("sessionid=")]
    client = site.talk(Cookie=cookie.partition(";")[0])
    user = site.report.expect("open")["id"]
    sent = json.loads(site.server.get(f"/kinds/publish?user={user}").body)
    assert sent == {"local": 1, "dropped": 0}
    assert "pushed" in client.receive()
    client.close()


@behaviour
def the_monitor_knows_the_view(site: Site) -> None:
    client = site.echo()
    client.send("hello")
    assert client.receive() == "hello"
    runs_in = RUNS_IN[site.kind]
    if runs_in == "thread" and site.server.spec.gevent:
        runs_in = "greenlet"
    transport = "queue" if site.server.spec.queued else "socket"
    path = site.url("echo").partition("?")[0]
    places = json.loads(site.server.get(f"/kinds/places?path={path}").body)
    assert [path, runs_in, transport] in places["rows"]
    assert [runs_in, transport] in places["kinds"]
    client.close()


@behaviour
def drops_of_a_slow_member_are_counted(site: Site) -> None:
    group = f"g{site.report.key}"
    client = site.server.open(site.url("bounded", group=group))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    site.report.expect("open")
    sent = site.server.get(f"/kinds/publish?group={group}&size=100000&count=300")
    assert json.loads(sent.body)["dropped"] > 0
    client.drop()
    assert site.report.expect("dropped") > 0


@behaviour
def the_origin_of_another_site_is_refused(site: Site) -> None:
    client = site.server.client()
    response = client.refused(site.url("echo"), [("Origin", "https://evil.example")])
    assert response.status == 403
    assert "WebSocket refused (403)" in site.server.logged("WebSocket refused")


@behaviour
def a_refusal_has_its_status_and_its_text(site: Site) -> None:
    client = site.server.client()
    response = client.refused("/nothing-is-here")
    assert response.status == 404
    assert b"Not Found" in response.body
    assert "Not Found" in site.server.logged("Not Found")
    response = site.server.client().refused("/streamed")
    assert (response.status, response.body) == (404, b"not here")
    site.server.logged("Not Found: /streamed")
