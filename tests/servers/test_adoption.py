"""Every server gives its socket away and goes on as if nothing had happened."""

from __future__ import annotations

import contextlib

import pytest

from . import frames
from .client import eventually
from .harness import Server
from .reports import Channel
from .specs import SPECS

MEGABYTE = ("0123456789abcdef" * 65536).encode()

pytestmark = pytest.mark.parametrize("server", SPECS, indirect=True)


def test_a_message_comes_back(server: Server):
    client = server.open("/echo")
    for text in ("hello", "", "grüße, 你好", "x" * 126, "y" * 70_000):
        client.send(text)
        assert client.receive() == text
    client.send(b"\xff\x00 not text")
    assert client.receive() == b"\xff\x00 not text"
    assert client.close().close_code == 1000


def test_twenty_open_sockets_leave_one_worker_free_for_http(server: Server):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.open("/echo")) for _ in range(20)]
        for number in range(5):
            assert server.get("/ping").body == b"pong", number
        assert server.post("/upload", b"x" * 100_000).status == 200
        for number, client in enumerate(clients):
            client.send(f"client {number}")
        assert server.get("/ping").body == b"pong"
        for number, client in enumerate(clients):
            assert client.receive() == f"client {number}"
        for client in clients:
            assert client.close().close_code == 1000


def test_a_megabyte_goes_both_ways(server: Server):
    client = server.open("/echo")
    client.send(MEGABYTE.decode())
    assert client.receive() == MEGABYTE.decode()
    client.close()
    client = server.open(f"/push?size={len(MEGABYTE)}")
    assert client.receive() == MEGABYTE.decode()
    client.send(MEGABYTE)
    assert client.receive() == str(len(MEGABYTE))
    client.close()


@pytest.mark.parametrize("size", [10, 5_000, 60_000])
def test_frames_in_the_segment_of_the_handshake_are_not_lost(server: Server, size: int):
    first, second = "a" * size, "b" * size
    both = frames.encode(frames.TEXT, first.encode()) + frames.encode(
        frames.TEXT, second.encode()
    )
    client = server.client()
    client.open("/echo", then=both)
    assert client.receive() == first
    assert client.receive() == second
    client.close()


def test_half_a_frame_with_the_handshake_waits_for_its_other_half(server: Server):
    frame = frames.encode(frames.TEXT, b"cut in two")
    client = server.client()
    client.open("/echo", then=frame[:7])
    client.sendall(frame[7:])
    assert client.receive() == "cut in two"
    client.close()


def test_a_close_frame_with_the_handshake_is_answered(server: Server):
    client = server.client()
    client.open("/echo", then=frames.encode_close(1000))
    assert client.read_close().close_code == 1000
    client.ended()


def test_a_handshake_in_pieces_is_one_handshake(server: Server):
    client = server.client()
    head = client.handshake("/echo")
    for start in range(0, len(head), 40):
        client.sendall(head[start : start + 40])
    client.accepted()
    client.send("hello")
    assert client.receive() == "hello"
    client.close()


@pytest.mark.parametrize("code", [1000, 1001, 3001, 4999])
def test_nothing_follows_the_answer_to_a_close_frame(server: Server, code: int):
    client = server.open("/echo")
    assert client.close(code, "bye").close_code == code


def test_nothing_follows_the_close_frame_of_a_view_that_returns(server: Server):
    client = server.open("/returns?what=response")
    assert client.receive() == "before"
    assert client.answer_close().close_code == 1000


def test_a_fin_without_a_close_frame_ends_the_view(server: Server, report: Channel):
    client = server.open(f"/hold?key={report.key}")
    report.expect("open")
    client.drop()
    report.expect("end")


def test_a_reset_ends_the_view_and_leaves_the_log_empty(
    server: Server, report: Channel
):
    client = server.open(f"/hold?key={report.key}")
    report.expect("open")
    client.send("on its way")
    client.reset()
    report.expect("end")
    assert server.get("/ping").body == b"pong"


def test_a_client_that_resets_right_after_its_handshake_does_no_harm(
    server: Server, report: Channel
):
    for _ in range(5):
        client = server.client()
        client.sendall(client.handshake(f"/hold?key={report.key}"))
        client.reset()
    assert server.get("/ping").body == b"pong"
    with server.open("/echo") as client:
        client.send("hello")
        assert client.receive() == "hello"


def test_descriptors_come_back(server: Server):
    worker = server.worker()
    server.open("/echo").close()
    before = worker.num_fds()
    clients = [server.open("/echo") for _ in range(20)]
    assert worker.num_fds() > before
    for number, client in enumerate(clients):
        (client.drop, client.reset, client.close)[number % 3]()
    eventually(
        lambda: worker.num_fds() <= before,
        what=f"{worker.num_fds()} descriptors after {before}",
    )
