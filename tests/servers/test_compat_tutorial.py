"""The tutorial's two forms, as they stand, with clients that vanish at any moment."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
import websockets.sync.client

from . import frames
from .client import WsClient, eventually
from .harness import Server
from .specs import CONTRACT

pytestmark = pytest.mark.parametrize("server", CONTRACT, indirect=True)


@pytest.fixture
def empty_chat(server: Server) -> Server:
    """Return the server once nobody is in its chat."""
    eventually(lambda: server.get("/members").body == b"0")
    return server


def _hear(client: WsClient, line: str) -> None:
    """Listen until a line comes, past those of others."""
    while client.receive() != line:
        pass


def _vanish_in_handshake(client: WsClient) -> None:
    client.sendall(client.handshake("/chat")[:30])
    client.drop()


def _vanish_after_handshake(client: WsClient) -> None:
    client.sendall(client.handshake("/chat"))
    client.drop()


def _vanish_in_a_frame(client: WsClient) -> None:
    client.open("/chat", then=frames.encode(frames.TEXT, b"half a message")[:9])
    client.drop()


def _vanish_in_a_message(client: WsClient) -> None:
    client.open("/chat")
    client.frame(frames.TEXT, b"first half", fin=False)
    client.reset()


def _vanish_with_unread_messages(client: WsClient) -> None:
    client.open("/chat")
    for number in range(20):
        client.send(f"unread {number}")
    client.reset()


def _vanish_politely(client: WsClient) -> None:
    client.open("/chat")
    client.sendall(frames.encode_close(1001))
    client.drop()


def _vanish_by_a_bad_frame(client: WsClient) -> None:
    client.open("/chat")
    client.frame(frames.TEXT, b"not masked", mask=False)
    assert client.read_close().close_code == 1002
    client.drop()


VANISH: dict[str, Callable[[WsClient], None]] = {
    name.removeprefix("_vanish_"): function
    for name, function in list(globals().items())
    if name.startswith("_vanish_")
}


@pytest.mark.parametrize("how", VANISH)
def test_the_chat_outlives_clients_that_vanish(empty_chat: Server, how: str):
    server = empty_chat
    stayer = server.open("/chat")
    for _ in range(5):
        VANISH[how](server.client())
    eventually(lambda: server.get("/members").body == b"1")
    stayer.send("still here?")
    _hear(stayer, "still here?")
    stayer.close()
    eventually(lambda: server.get("/members").body == b"0")


def test_everybody_hears_everybody(empty_chat: Server):
    server = empty_chat
    clients = [server.open("/chat") for _ in range(10)]
    eventually(lambda: server.get("/members").body == b"10")
    for number, client in enumerate(clients):
        client.send(f"from {number}")
    for client in clients:
        heard = {client.receive() for _ in clients}
        assert heard == {f"from {number}" for number in range(10)}
    for client in clients:
        client.close()


def test_clients_come_and_go_while_others_talk(empty_chat: Server):
    server = empty_chat
    chance = random.Random(7)
    stop = threading.Event()
    failures: list[Exception] = []

    def come_and_go(seed: int) -> None:
        dice = random.Random(seed)
        try:
            while not stop.is_set():
                client = WsClient(server.address)
                try:
                    dice.choice(list(VANISH.values()))(client)
                finally:
                    client.drop()
        except Exception as error:
            failures.append(error)

    threads = [
        threading.Thread(target=come_and_go, args=(chance.random(),)) for _ in range(3)
    ]
    talker = server.open("/chat")
    for thread in threads:
        thread.start()
    try:
        for number in range(100):
            talker.send(f"line {number}")
            _hear(talker, f"line {number}")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    talker.close()
    eventually(lambda: server.get("/members").body == b"0")


@pytest.mark.parametrize("path", ["/echo", "/modern/echo"])
def test_the_echo_talks_to_an_ordinary_client(server: Server, path: str):
    uri = server.url.replace("http", "ws") + path
    with websockets.sync.client.connect(uri) as connection:
        for message in ("hello", "grüße " * 1000, "", "x" * 200_000):
            connection.send(message)
            assert connection.recv(timeout=20) == message
        connection.send(b"\xff\x00" * 5000)
        assert connection.recv(timeout=20) == b"\xff\x00" * 5000
        connection.send(["in ", "three ", "fragments"])
        assert connection.recv(timeout=20) == "in three fragments"
        assert connection.ping().wait(20)
    assert connection.close_code == 1000


def test_over_plain_http_it_asks_for_a_websocket(server: Server):
    assert server.get("/echo").body == b"please connect with a WebSocket"
    assert server.get("/chat").body == b"please connect with a WebSocket"
