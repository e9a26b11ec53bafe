"""Prepare and start the peers in turn, and check that each one does what it should.

``python3 benches/peers/check.py [NAME...]``; without names, all of them. It ends with
an error if one peer fails.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common

from peers import PEERS, Peer, PeerError, Running

# The offer of a browser; the keys are those of RFC 6455 section 1.3.
REQUEST = (
    "GET /echo HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


class Wrong(Exception):
    """A peer does something else than it should."""


def load(command: str, running: Running, **options: object) -> dict[str, float]:
    """Run the load program for a moment; return its figures."""
    fixed = {"address": running.address, "seconds": 0.3, "warmup": 0.1}
    try:
        figures = common.load_once(
            "none", command, running.pids, {**fixed, **options}, limit=60
        )
    except common.Failed as error:
        raise Wrong(f"{command} {options}: {error}") from error
    if not figures["rate"]:
        raise Wrong(f"{command} {options}: no message came back")
    return figures


def echoes(running: Running) -> None:
    """Check echoes: text, binary, 64 KiB, and eight in flight."""
    for options in (
        {"kind": "text", "size": 32},
        {"kind": "binary", "size": 32},
        {"kind": "binary", "size": 65536},
        {"kind": "text", "size": 32, "in_flight": 8},
        {"kind": "binary", "size": 65536, "in_flight": 8},
    ):
        load("echo", running, path="/echo", connections=10, **options)


def groups(running: Running) -> None:
    """Check that every member gets every message, once and in order."""
    for in_flight in (1, 16):
        load("fanout", running, members=20, in_flight=in_flight, threads=1)


def idle(running: Running) -> None:
    """Check that connections stay, and close with the closing handshake."""
    holder = common.Holder("none", running.address)
    try:
        for command in ("open 20", "echo", "check", "close"):
            holder(command)
    except SystemExit as error:
        raise Wrong(f"hold: {error}") from error
    finally:
        holder.stop()


def handshakes(running: Running) -> None:
    """Check that the server opens connections, and declines permessage-deflate."""
    host, _, port = running.address.partition(":")
    for _ in range(20):
        with socket.create_connection((host, int(port)), 10) as client:
            client.sendall(REQUEST.format(running.address).encode())
            head = client.recv(4096).lower()
        if not head.startswith(b"http/1.1 101"):
            raise Wrong(f"the handshake's answer is {head[:100]!r}")
        if b"permessage-deflate" in head:
            raise Wrong("it compresses messages")


CHECKS: dict[str, Callable[[Running], None]] = {
    "echo": echoes,
    "fanout": groups,
    "handshake": handshakes,
    "idle": idle,
}


def check(peer: Peer) -> str:
    """Check one peer; return what it runs on.

    Raises:
        PeerError: It cannot be built, or does not start.
        Wrong: It does something else than it should.
    """
    peer.prepare()
    with peer.serve("0") as running:
        for name, value in CHECKS.items():
            if name in peer.scenarios:
                value(running)
        if not all(Path(f"/proc/{pid}").exists() for pid in running.pids):
            raise Wrong("a process of the server has ended")
        names = (Path(f"/proc/{pid}/comm").read_text() for pid in running.pids)
        found = f"{', '.join(name.strip() for name in names)}; "
        pids = running.pids
        found += ", ".join(" ".join(pair) for pair in running.versions.items())
    time.sleep(0.2)
    if any(Path(f"/proc/{pid}").exists() for pid in pids):
        raise Wrong("a process of the server is left over")
    return found


def main() -> None:
    """Check the peers that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PEERS))
    names = parser.parse_args().names or list(PEERS)
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        parser.error(f"no peer is called {', '.join(unknown)}")
    common.raise_descriptor_limit()
    failed = 0
    for name in names:
        try:
            print(f"OK      {name}: {check(PEERS[name])}", flush=True)
        except (PeerError, Wrong) as error:
            failed += 1
            print(f"FAILED  {name}: {error}", flush=True)
    if failed:
        raise SystemExit(f"{failed} of {len(names)} peers failed")


if __name__ == "__main__":
    main()
