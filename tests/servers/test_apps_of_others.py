"""Applications of Channels, strawberry and Starlette as views."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .client import WsClient
from .harness import Server
from .nats import Nats
from .pool import Pool
from .redis import Redis

ENV = {"SITE_URLCONF": "tests.servers.site.urls_apps"}
LAYER = {"default": {"BACKEND": "dwebsocket.channels.ChannelLayer"}}
OPTIONS: dict[str, Any] = {"env": ENV, "settings": {"CHANNEL_LAYERS": LAYER}}

#: One of each kind: threads, processes, greenlets, uWSGI, and an ASGI server.
SPECS = (
    *("runserver", "gunicorn-sync", "gunicorn-gthread", "gunicorn-gthread-8"),
    *("gunicorn-gevent", "uwsgi-http-socket", "cheroot", "waitress", "uvicorn"),
)


@pytest.fixture(params=SPECS)
def site(
    request: pytest.FixtureRequest, variant: Callable[..., Server]
) -> Iterator[Server]:
    """Return a server of each kind, with the applications."""
    return variant(request.param, **OPTIONS)


def cookies(server: Server, name: str) -> list[tuple[str, str]]:
    """Log a user in; return the header for the handshake."""
    response = server.get(f"/log-in?name={name}")
    assert response.body == b"welcome"
    found = [value.partition(";")[0] for value in response.all("Set-Cookie")]
    return [("Cookie", "; ".join(found))]


def say(client: WsClient, **message: Any) -> None:
    client.send(json.dumps(message))


def hear(client: WsClient) -> Any:
    return json.loads(client.receive())


def test_channels_consumers_chat(site: Server):
    """``AsyncJsonWebsocketConsumer``, ``URLRouter`` and ``AuthMiddlewareStack``."""
    ada = site.open("/ws/chat/tea/", cookies(site, "ada"))
    assert hear(ada) == {"hello": "ada"}
    bob = site.open(
        "/ws/chat/tea/",
        [*cookies(site, "bob"), ("Sec-WebSocket-Protocol", "chat, other")],
    )
    assert bob.response is not None
    assert bob.response.get("Sec-WebSocket-Protocol") == "chat"
    assert hear(bob) == {"hello": "bob"}
    say(ada, text="hello, 你好")
    assert hear(ada) == hear(bob) == {"text": "hello, 你好"}
    say(ada, count=True)
    assert hear(ada)["users"] >= 2
    # From a synchronous view, and when a member leaves.
    assert site.get("/announce?room=room_tea&text=soon").body == b"sent"
    assert hear(ada) == hear(bob) == {"text": "soon"}
    ada.close(4000)
    assert hear(bob) == {"text": "left: 4000"}
    bob.close()


def test_a_consumer_turns_a_guest_away(site: Server):
    assert site.client().refused("/ws/chat/tea/").status == 403
    site.logged(r"WebSocket refused \(403\): /ws/chat/tea/")


def test_no_route_is_an_error(site: Server):
    assert site.client().refused("/ws/nowhere").status == 500
    site.logged("No route found for path 'ws/nowhere'")
    assert site.get("/ping").body == b"pong"
    site.begin()


def test_synchronous_consumers_query_side_by_side(site: Server):
    clients = [site.open("/sync") for _ in range(3)]
    for client in clients:
        say(client, text="hello")
        for other in clients:
            assert hear(other) == {"text": "hello", "users": True}
    for client in clients:
        client.close()


def test_djangos_urls_lead_to_a_consumer(site: Server):
    client = site.open("/bare/tea/", cookies(site, "ada"))
    hello = hear(client)
    assert (hello["room"], hello["user"]) == ("tea", "ada")
    # It can be reached like any view.
    assert site.get(f"/kinds/publish?user={hello['pk']}").status == 200
    assert hear(client) == {"pushed": True}
    client.close()


def test_a_subscription_of_strawberry(site: Server):
    client = site.open("/graphql", [("Sec-WebSocket-Protocol", "graphql-transport-ws")])
    assert client.response is not None
    chosen = client.response.get("Sec-WebSocket-Protocol")
    assert chosen == "graphql-transport-ws"
    say(client, type="connection_init")
    assert hear(client)["type"] == "connection_ack"
    query = "subscription { count(target: 3) }"
    say(client, id="1", type="subscribe", payload={"query": query})
    for number in range(3):
        event = hear(client)
        assert (event["type"], event["id"]) == ("next", "1")
        assert event["payload"]["data"] == {"count": number}
    assert hear(client)["type"] == "complete"
    say(client, id="2", type="subscribe", payload={"query": "query { ping }"})
    assert hear(client)["payload"]["data"] == {"ping": "pong"}
    assert hear(client)["type"] == "complete"
    # What the protocol demands for bad input.
    client.send("no JSON")
    assert client.answer_close().close_code == 4400


def test_an_endpoint_of_starlette(site: Server):
    client = site.open("/starlette/echo/ada")
    assert client.response is not None
    assert client.response.get("X-Starlette") == "yes"
    assert client.receive() == "hello, ada"
    for number in range(20):
        client.send(f"message {number}")
        assert client.receive() == f"message {number}"
    client.close()
    refusal = site.client().refused("/starlette/denied")
    assert (refusal.status, json.loads(refusal.body)) == (402, {"why": "no"})
    site.logged(r"WebSocket refused \(402\): /starlette/denied")


@pytest.mark.parametrize("spec", ["gunicorn-gthread", "gunicorn-gevent"])
def test_starlette_hears_of_the_end(pool: Pool, spec: str):
    server = pool.fresh(spec, **OPTIONS)
    client = server.open("/starlette/echo/ada")
    client.close()
    server.stop()
    log = server.text(0)
    assert log.count("Starlette was told of the end") == 1
    assert "Traceback" not in log


@pytest.mark.parametrize("kind", [Redis, Nats])
def test_a_site_of_channels_moves_over_by_two_lines(pool: Pool, kind: Any):
    """Its consumers talk across processes, on gunicorn gthread."""
    broker = kind()
    lines = {"CHANNEL_LAYERS": LAYER, "DWEBSOCKET": {"BROKER": broker.url}}
    try:
        one, two = (
            pool.fresh("gunicorn-gthread", env=ENV, settings=lines) for _ in range(2)
        )
        ada = one.open("/ws/chat/tea/", cookies(one, "ada"))
        assert hear(ada) == {"hello": "ada"}
        bob = two.open("/ws/chat/tea/", cookies(two, "bob"))
        assert hear(bob) == {"hello": "bob"}
        for number in range(20):
            say(ada, text=f"{number}")
            assert hear(ada) == hear(bob) == {"text": f"{number}"}
        assert two.get("/announce?room=room_tea&text=soon").body == b"sent"
        assert hear(ada) == hear(bob) == {"text": "soon"}
        ada.close(4000)
        assert hear(bob) == {"text": "left: 4000"}
        bob.close()
    finally:
        broker.close()
