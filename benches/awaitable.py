"""What a message costs on its way to a task: the engine's awaitable beside futures.

The futures are those of pyo3-async-runtimes (``benches/awaitable``): a task of tokio
sets the result of a future of asyncio, which takes a call of ``call_soon_threadsafe``.
There, messages come from a queue in memory, and there is no answer. The engine's
messages come over a socket, as frames, and are echoed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import common

TASKS = 100
ROUNDS = 1_000

#: Run by the interpreter that is measured; prints microseconds of CPU per message.
FUTURES = """
import asyncio, json, sys, time
import futures_bench, uvloop
tasks, rounds = map(int, sys.argv[1:])
async def main():
    inboxes = futures_bench.inboxes(tasks)
    async def view(inbox):
        while True:
            inbox.reply(await inbox.receive())
    views = [asyncio.ensure_future(view(inbox)) for inbox in inboxes]
    await asyncio.sleep(0)
    await futures_bench.drive(inboxes, 100)
    began = time.process_time()
    await futures_bench.drive(inboxes, rounds)
    print(json.dumps((time.process_time() - began) / rounds / tasks * 1e6), flush=True)
    import os
    os._exit(0)
uvloop.run(main())
"""

OURS = """
import asyncio, functools, json, os, socket, sys, threading, time
import django
from django.conf import settings
settings.configure()
django.setup()
import uvloop
from dwebsocket import _engine
from dwebsocket.signals import websocket_message
from dwebsocket.websocket.aio import AsyncWebSocket
tasks, rounds = map(int, sys.argv[1:])
FRAME = bytes([0x82, 0x80 | 32, 0, 0, 0, 0]) + b"x" * 32
OPTIONS = _engine.Options(compression="off")
async def view(websocket):
    async for message in websocket:
        await websocket.send(message)
def drive(ends):
    def turn(count):
        for _ in range(count):
            for end in ends:
                end.send(FRAME)
            for end in ends:
                end.recv(100)
    turn(100)
    began, mine = time.process_time(), time.thread_time()
    turn(rounds)
    spent = time.process_time() - began - (time.thread_time() - mine)
    print(json.dumps(spent / rounds / tasks * 1e6), flush=True)
    os._exit(0)
async def main():
    loop = asyncio.get_running_loop()
    engine = _engine.TaskLoop(loop, websocket_message)
    for descriptor in engine.filenos():
        loop.add_reader(descriptor, engine.attend)
    ends, views = [], []
    for _ in range(tasks):
        theirs, ours = socket.socketpair()
        handshake = _engine.handshake(
            method="GET", connection="Upgrade", upgrade="websocket", version="13",
            key="dGhlIHNhbXBsZSBub25jZQ==", protocols="", extensions="",
            options=OPTIONS,
        )
        connection = _engine.adopt(theirs.fileno()).start(
            handshake.response(None, []), b"", handshake, OPTIONS,
            _engine.reserve(10_000), engine,
        )
        theirs.close()
        ours.recv(1000)
        ends.append(ours)
        port = functools.partial(_engine.TaskPort, connection, engine)
        websocket = AsyncWebSocket(connection, modern=True, port=port)
        views.append(asyncio.ensure_future(view(websocket)))
    threading.Thread(target=drive, args=(ends,), daemon=True).start()
    await asyncio.sleep(3600)
uvloop.run(main())
"""


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions")
    arguments = parser.parse_args()
    interpreter = common.new_environment(arguments.python)
    common.pip(interpreter, "uvloop")
    manifest = common.HERE / "awaitable" / "Cargo.toml"
    with tempfile.TemporaryDirectory() as target:
        subprocess.run(
            ["cargo", "build", "--release", "--quiet", "--manifest-path"]
            + [str(manifest), "--target-dir", target],
            check=True,
        )
        built = Path(target) / "release"
        (built / "libfutures_bench.so").rename(built / "futures_bench.so")
        for _ in range(arguments.rounds):
            ours, futures = (
                _measured(interpreter, program, built) for program in (OURS, FUTURES)
            )
            print(
                f"the engine's awaitable, over a socket: {ours:.1f} us CPU each; "
                f"futures, without: {futures:.1f} us; ratio {futures / ours:.1f}"
            )


def _measured(interpreter: Path, program: str, modules: Path) -> float:
    run = subprocess.run(
        common.pinned(
            [str(interpreter), "-c", program, str(TASKS), str(ROUNDS)], "0", 0
        ),
        env={"PYTHONPATH": str(modules)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(json.loads(run.stdout))


if __name__ == "__main__":
    sys.exit(main())
