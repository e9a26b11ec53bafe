from __future__ import annotations

import select

from websockets.frames import Opcode

from tests.python.peer import TIMEOUT


def test_the_socket_can_be_selected_on(pair):
    websocket, peer = pair()
    fd = websocket.protocol.sock.fileno()
    peer.send("x")
    assert select.select([fd], [], [], TIMEOUT)[0] == [fd]
    assert websocket.protocol.can_read(TIMEOUT) is True


def test_it_is_the_same_object_every_time(pair):
    websocket, _ = pair()
    assert websocket.protocol is websocket.protocol


def test_close_closes_the_websocket(pair):
    websocket, peer = pair()
    assert websocket.protocol.is_closed() is False
    websocket.protocol.close(4000, b"why")
    assert peer.closing().code == 4000
    assert websocket.protocol.is_closed() is True
    assert websocket.protocol.server_terminated is True
    assert websocket.protocol.client_terminated is True


def test_closing_the_socket_closes_the_websocket(pair):
    websocket, peer = pair()
    websocket.protocol.sock.close()
    assert peer.closing().code == 1000


def test_write_sends_text_unless_told_otherwise(pair):
    websocket, peer = pair()
    websocket.protocol.write("text")
    websocket.protocol.write(b"binary", binary=True)
    websocket.protocol.write_ping("ping")
    assert peer.message() == "text"
    assert peer.message() == b"binary"
    assert peer.frame().opcode is Opcode.PING


def test_close_code_and_reason_are_the_websockets(pair):
    websocket, peer = pair()
    peer.close(4000, "why")
    websocket.wait()
    assert websocket.protocol.close_code == 4000
    assert websocket.protocol.close_reason == "why"


def test_opcodes_have_their_numbers(pair):
    websocket, _ = pair(remote_address=("192.0.2.1", 4711))
    protocol = websocket.protocol
    names = ("TEXT", "BINARY", "CLOSE", "PING", "PONG")
    numbers = [getattr(protocol, f"OPCODE_{name}") for name in names]
    assert numbers == [1, 2, 8, 9, 10]
    assert protocol.sock.getpeername() == ("192.0.2.1", 4711)
