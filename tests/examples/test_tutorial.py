"""The two tutorial views, with clients that stay and clients that vanish."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from .conftest import TUTORIAL
from .running import PATIENCE, Example

SERVERS = ("runserver", "gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent")

Launch = Callable[..., Example]


@pytest.fixture(params=SERVERS)
def tutorial(request: pytest.FixtureRequest, launch: Launch) -> Iterator[Example]:
    example = launch(TUTORIAL, request.param)
    yield example
    example.kill()


def member(tutorial: Example, greeting: str) -> ClientConnection:
    """Return a member of the chat, of which the view has taken note."""
    client = tutorial.connect("/ws/chat/")
    client.send(greeting)
    while client.recv(PATIENCE) != greeting:
        pass
    return client


def hears(sender: ClientConnection, receiver: ClientConnection, words: str) -> bool:
    """Say something until the other one has heard it.

    The tutorial's loop goes over a list that others change meanwhile, so that it may
    leave a member out while another one goes.
    """
    for attempt in range(20):
        sender.send(f"{words} {attempt}")
        try:
            while not str(receiver.recv(PATIENCE / 20)).startswith(words):
                pass
        except TimeoutError:
            continue
        return True
    return False


def test_pages_are_served_and_the_views_answer_http(tutorial: Example) -> None:
    for path, title in (("/echo/", "<h1>Echo</h1>"), ("/chat/", "<h1>Chat</h1>")):
        status, body = tutorial.get(path)
        assert status == 200
        assert title in body
    for path in ("/ws/test/", "/ws/chat/"):
        assert tutorial.get(path) == (200, "please connect with a WebSocket")


def test_echo_sends_back_what_it_gets(tutorial: Example) -> None:
    client = tutorial.connect("/ws/test/")
    for message in ("hello", "", "你好 👋🏽", "x" * 100_000, b"\x00\xff", b"bytes"):
        client.send(message)
        assert client.recv(PATIENCE) == message
    client.close()
    assert client.close_code == 1000


def test_chat_sends_every_message_to_everybody_as_text(tutorial: Example) -> None:
    ana, li = member(tutorial, "Ana is here"), member(tutorial, "Li is here")
    assert ana.recv(PATIENCE) == "Li is here"
    ana.send("你好, Li")
    assert [ana.recv(PATIENCE), li.recv(PATIENCE)] == ["你好, Li"] * 2
    li.send(b"bytes that are text")
    assert [ana.recv(PATIENCE), li.recv(PATIENCE)] == ["bytes that are text"] * 2


def test_clients_that_vanish_do_not_disturb_the_others(tutorial: Example) -> None:
    ana, li = member(tutorial, "Ana is here"), member(tutorial, "Li is here")
    for number in range(10):
        tutorial.reset_one("/ws/chat/", f"number {number} says bye")
        tutorial.reset_one("/ws/test/", "bye")
        assert hears(ana, li, f"after number {number},")
        assert hears(li, ana, f"indeed, after number {number},")
    eve = member(tutorial, "Eve is here")
    assert hears(eve, ana, "hello,")
    assert hears(ana, eve, "welcome,")
    assert tutorial.get("/ws/test/")[0] == 200


def test_stopping_the_server_says_goodbye_to_its_clients(tutorial: Example) -> None:
    client, chatter = tutorial.connect("/ws/test/"), member(tutorial, "hi")
    client.send("hello")
    assert client.recv(PATIENCE) == "hello"
    tutorial.stop()
    for one in (client, chatter):
        with pytest.raises(ConnectionClosed) as caught:
            one.recv(PATIENCE)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
