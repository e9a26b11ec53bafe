"""Waits on the main thread, which signals end; each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from dwebsocket import _engine

#: The broker takes connections and says nothing.
PROGRAM = """
import os, signal, socket, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from dwebsocket import _engine
from dwebsocket.websocket import endpoint
from tests.python.peer import open_pair

signal.signal(signal.SIGINT, signal.default_int_handler)
broker = socket.create_server(("127.0.0.1", 0))
url = f"{sys.argv[1]}://127.0.0.1:{broker.getsockname()[1]}"
_engine.hub_configure(broker=url, timeout=600)
websocket, peer = open_pair(modern=True)
print("calling", flush=True)
try:
    CALL
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

CALLS = {
    "join": 'endpoint.of(websocket).connection.join("a", history=5)',
    "history": '_engine.history("a", 5, 5)',
    "position": '_engine.position("a", 5)',
    "flush": """
    _engine.publish("group", ["a"], "x", histories=[(5, 60.0)], timeout=0)
    _engine.hub_flush(600)
""",
    "publish": '_engine.publish("group", ["a"], "x", histories=[(5, 60.0)])',
}


@pytest.mark.parametrize("scheme", ["redis", "nats"])
@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_ends_a_call_that_waits_for_a_silent_broker(call: str, scheme: str):
    program = PROGRAM.replace("CALL", CALLS[call].strip())
    process = subprocess.Popen(
        [sys.executable, "-c", program, scheme],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "calling\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert out == "interrupted\n", err
    assert process.returncode == 0, err


#: A signal comes during a wait, and a message before the wait has noticed the signal.
ALARMS = """
import os, signal, threading
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from tests.python.peer import open_pair

class Alarm(Exception): pass

def ring(number, frame):
    raise Alarm

def send():
    for text in "abc":
        peer.protocol.send_text(text.encode())
    peer._flush()

signal.signal(signal.SIGALRM, ring)
websocket, peer = open_pair(modern=True, engine={"inbox_messages": 3})
for _ in range(3):
    threading.Timer(0.05, send).start()
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        websocket.receive(10)
    except Alarm:
        print("alarm", flush=True)
    assert websocket.can_read(10)
    print(*[websocket.receive(1) for _ in range(3)], flush=True)
"""


def test_an_exception_of_a_signal_handler_loses_no_message():
    process = subprocess.run(
        [sys.executable, "-c", ALARMS], capture_output=True, text=True, timeout=50
    )
    assert process.stdout == "alarm\na b c\n" * 3, process.stderr
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("seconds", [1.5e19, 1e12, float("inf"), float("nan"), -1.0])
@pytest.mark.parametrize(
    "call",
    [
        _engine.stop,
        _engine.renew,
        _engine.hub_flush,
        lambda seconds: _engine.leave(1001, seconds),
        lambda seconds: _engine.monitor_ask("{}", seconds),
    ],
)
def test_a_time_that_no_clock_can_tell_is_refused(call, seconds):
    with pytest.raises(ValueError, match="must be a number of seconds"):
        call(seconds)
