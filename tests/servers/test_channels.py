"""The channel layer between processes, over real brokers."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .brokers import Broker
from .harness import PYTHON, ROOT
from .nats import Nats
from .redis import Redis

MESSAGE = {"type": "test.message", "text": "Ahoy-hoy!"}


class Process:
    """A process with a channel layer.

    Args:
        broker: The URL of the broker.
        options: The arguments of the layer.
    """

    def __init__(self, broker: str, **options: Any) -> None:
        words = [PYTHON, "-m", "tests.servers.site.channel_process"]
        self.process = subprocess.Popen(
            [*words, broker, json.dumps(options)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._numbers = itertools.count(1)
        self._early: dict[int, Any] = {}
        #: A channel of its own.
        self.channel = self.result(0)

    def ask(self, name: str, *args: Any) -> int:
        """Begin a call; return its number."""
        number = next(self._numbers)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([number, name, args]) + "\n")
        self.process.stdin.flush()
        return number

    def result(self, number: int) -> Any:
        """Return the outcome of a call."""
        assert self.process.stdout is not None
        while number not in self._early:
            line = self.process.stdout.readline()
            assert line, "the process has ended"
            known, outcome = json.loads(line)
            self._early[known] = outcome
        return self._early.pop(number)

    def call(self, name: str, *args: Any) -> Any:
        """Make a call and return its outcome."""
        return self.result(self.ask(name, *args))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module", params=[Redis, Nats], ids=["redis", "nats"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    running = request.param()
    yield running
    running.close()


@pytest.fixture
def start(broker: Broker) -> Iterator[Callable[..., Process]]:
    """Start processes that are apart from those of other tests."""
    running: list[Process] = []
    prefix = f"t{os.urandom(4).hex()}"

    def start(**options: Any) -> Process:
        running.append(Process(broker.url, **{"prefix": prefix, **options}))
        return running[-1]

    yield start
    for process in running:
        process.close()


def test_a_message_to_a_channel_of_another_process(start: Callable[..., Process]):
    one, two = start(), start()
    receiving = two.ask("receive", two.channel)
    one.call("send", two.channel, MESSAGE)
    assert two.result(receiving) == MESSAGE
    # It may come before anybody waits, too.
    one.call("send", two.channel, MESSAGE)
    assert two.call("receive", two.channel) == MESSAGE
    assert one.call("try_receive", one.channel, 0.1) is None


def test_a_group_of_several_processes(start: Callable[..., Process]):
    one, two, other = start(), start(), start(prefix="other")
    for process in (one, two, other):
        process.call("group_add", "group", process.channel)
    one.call("group_send", "group", MESSAGE)
    for process in (one, two):
        assert process.call("receive", process.channel) == MESSAGE
        assert process.call("try_receive", process.channel, 0.1) is None
    assert other.call("try_receive", other.channel, 0.1) is None
    two.call("group_discard", "group", two.channel)
    one.call("group_send", "group", MESSAGE)
    assert one.call("receive", one.channel) == MESSAGE
    assert two.call("try_receive", two.channel, 0.3) is None


def _until_it_arrives(sender: Process, member: Process) -> None:
    """Send to the group until a member of it gets a message.

    A letter and the broker's answer take a moment that nobody reports.
    """
    for _ in range(200):
        sender.call("group_send", "group", MESSAGE)
        if member.call("try_receive", member.channel, 0.05) == MESSAGE:
            return
    pytest.fail("nothing comes")


def test_a_process_adds_the_channel_of_another_one(start: Callable[..., Process]):
    one, two = start(), start()
    one.call("group_add", "group", two.channel)
    _until_it_arrives(one, two)
    one.call("group_discard", "group", two.channel)
    for _ in range(200):
        while two.call("try_receive", two.channel, 0.01):
            pass
        one.call("group_send", "group", MESSAGE)
        if two.call("try_receive", two.channel, 0.05) is None:
            break
    else:
        pytest.fail("it is a member still")


def test_one_receiver_of_all_processes_gets_a_message(start: Callable[..., Process]):
    sender, *workers = (start(capacity=1_000) for _ in range(3))
    waiting = [worker.ask("drain", "work", 100) for worker in workers]
    sender.call("send_many", "work", 200)
    got = [worker.result(w) for worker, w in zip(workers, waiting, strict=True)]
    assert sorted(itertools.chain(*got)) == list(range(200))


def test_a_receiver_that_comes_later_gets_what_waits(start: Callable[..., Process]):
    sender = start()
    assert sender.call("send_many", "work", 5) == 5
    worker = start()
    assert worker.call("drain", "work", 5) == list(range(5))
    assert sender.call("try_receive", "work", 0.1) is None


def test_a_cancelled_receiver_of_another_process_loses_nothing(
    start: Callable[..., Process],
):
    sender, worker = start(capacity=1_000), start(capacity=1_000)
    cancelled = []
    for _ in range(20):
        cancelled.append(worker.ask("cancel_receive", "work", 0.005))
        sender.call("send_many", "work", 5)
    outcomes = [worker.result(number) for number in cancelled]
    got = [message["number"] for message in outcomes if message is not None]
    while len(got) < 100:
        message = worker.call("try_receive", "work", 5)
        assert message is not None, got
        got.append(message["number"])
    assert sorted(got) == sorted(list(range(5)) * 20)


def test_the_sender_learns_of_a_full_channel(start: Callable[..., Process]):
    one = start(capacity=2)
    start()
    for expected in (None, None, "full"):
        assert one.call("send", "work", MESSAGE) == expected


def test_a_flush_reaches_all_processes(start: Callable[..., Process]):
    one, two = start(), start()
    two.call("group_add", "group", two.channel)
    two.call("send", two.channel, MESSAGE)
    one.call("flush")
    for _ in range(200):
        if two.call("try_receive", two.channel, 0.05) is None:
            break
    one.call("group_send", "group", MESSAGE)
    assert two.call("try_receive", two.channel, 0.3) is None


def test_a_broker_that_does_not_answer_stops_no_event_loop(
    broker: Broker, start: Callable[..., Process]
):
    one, two = start(), start()
    two.call("group_add", "group", two.channel)
    with broker.frozen():
        turns = one.call("turns_until_sent", "group", MESSAGE)
        # To NATS, a message is on its way when it is written.
        assert turns > 10 or isinstance(broker, Nats)
    _until_it_arrives(one, two)


#: Sends to a group: this process, a forked child of it, and this one at its very end.
_SENDERS = """
import asyncio, atexit, os, sys
import django
from django.conf import settings
settings.configure(DWEBSOCKET={"BROKER": sys.argv[1]}, DATABASES={})
django.setup()
from dwebsocket.channels import ChannelLayer

layer = ChannelLayer(prefix=sys.argv[2])

async def send(text, close=False):
    await layer.group_send("group", {"type": "m", "text": text})
    if close:
        await layer.close()

asyncio.run(send("parent"))
child = os.fork()
if child == 0:
    asyncio.run(layer.close())
    asyncio.run(send("child", close=True))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
atexit.register(lambda: asyncio.run(send("end")))
"""


def test_a_forked_child_sends_and_so_does_a_process_at_its_end(
    broker: Broker, start: Callable[..., Process]
):
    prefix = f"t{os.urandom(4).hex()}"
    listener = start(prefix=prefix)
    listener.call("group_add", "group", listener.channel)
    done = subprocess.run(
        [PYTHON, "-c", _SENDERS, broker.url, prefix],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    texts = [listener.call("receive", listener.channel)["text"] for _ in range(3)]
    assert texts == ["parent", "child", "end"]
