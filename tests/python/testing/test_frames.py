"""The client's frames, against those of the library websockets."""

from __future__ import annotations

import os

import pytest
from websockets.frames import Frame as Theirs
from websockets.frames import Opcode
from websockets.streams import StreamReader

from dwebsocket.testing.frames import BINARY, TEXT, Deflate, Frame, Reader

SIZES = [0, 1, 5, 125, 126, 65535, 65536, 100_000]


def parsed(data: bytes) -> Theirs:
    reader = StreamReader()
    reader.feed_data(data)
    step = Theirs.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(step)
    found: Theirs = done.value.value
    return found


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_what_a_client_sends(size: int, mask: bool) -> None:
    data = os.urandom(size)
    found = parsed(Frame(BINARY, data, fin=False).encode(mask))
    assert (found.opcode, bytes(found.data)) == (Opcode.BINARY, data)
    assert (found.fin, found.rsv1) == (False, False)


@pytest.mark.parametrize("size", SIZES)
def test_what_a_server_sends(size: int) -> None:
    data = os.urandom(size)
    sent = Theirs(Opcode.TEXT, data, fin=True).serialize(mask=False)
    assert list(Reader().feed(sent * 2)) == [Frame(TEXT, data)] * 2
    # In pieces of every length, as a socket may return them.
    reader, found = Reader(), []
    for start in range(0, len(sent), max(1, len(sent) // 50)):
        found += reader.feed(sent[start : start + max(1, len(sent) // 50)])
    assert found == [Frame(TEXT, data)]


@pytest.mark.parametrize(
    "agreed",
    [
        "permessage-deflate",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
    ],
)
def test_compression(agreed: str) -> None:
    client = Deflate(agreed)
    # A server with the same parameters reads and writes the same.
    server = Deflate(agreed)
    for data in (b"", b"hello" * 100, os.urandom(1000), b"hello" * 100):
        assert server.inflate(client.deflate(data)) == data
        assert client.inflate(server.deflate(data)) == data
