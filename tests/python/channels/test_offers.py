"""The offers of other processes by themselves: time is an argument."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from dwebsocket.channels import offers as module
from dwebsocket.channels.offers import Offers


def listened() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


def test_a_process_that_does_not_answer_is_not_waited_for():
    offers = Offers(lambda channel: 1, 5)
    offers.enter("work", listened, 0)
    assert offers.offered("work", "A", 1) == 1
    assert offers.offered("work", "B", 2) == 0
    assert offers.next("work", 3) is None
    assert offers.pause("work", 3) == 3
    assert offers.next("work", 6) == ("B", 1)
    # Neither does the next one, and there are no others.
    assert offers.pause("work", 12) == 5
    assert offers.next("work", 12) is None


def test_a_receiver_that_comes_while_an_offer_is_kept_finds_it():
    waiting = [0]
    found: list[tuple[str, int] | None] = []
    receiver = threading.Thread(target=lambda: found.append(offers.next("work", 0)))

    def count(channel: str) -> int:
        if waiting[0] == 0:
            # The receiver comes right after the count.
            waiting[0] = 1
            receiver.start()
            receiver.join(0.05)
            return 0
        return 1

    offers = Offers(count, 5)
    offers.enter("work", listened, 0)
    assert offers.offered("work", "A", 0) == 0
    receiver.join(10)
    assert found == [("A", 1)]


def test_channels_without_receivers_are_forgotten_with_their_offers():
    waiting = {"busy": 1, "late": 0, "work": 0, "slow": 0}
    offers = Offers(waiting.__getitem__, 5)
    left: list[str] = []
    for channel in ("busy", "late", "work"):
        offers.enter(channel, listened, 0)
    # The broker has not answered.
    offers.enter("slow", Future, 0)
    offers.offered("work", "A", 1)
    offers.leave("late", 9)
    offers.sweep(5, left.append)
    assert left == ["work"]
    assert [name for name in waiting if name in offers] == ["busy", "late", "slow"]
    # Nobody listens: the next receiver asks all processes.
    waiting["work"] = 1
    assert offers.offered("work", "A", 10) == 0
    assert offers.enter("work", listened, 10)[1]
    assert offers.next("work", 10) is None


def test_the_oldest_offer_is_forgotten_if_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "_MOST", 2)
    waiting = [0]
    offers = Offers(lambda channel: waiting[0], 5)
    offers.enter("work", listened, 0)
    for node in ("A", "B", "A", "C"):
        assert offers.offered("work", node, 0) == 0
    waiting[0] = 1
    assert offers.next("work", 0) == ("B", 1)
    offers.came("work")
    assert offers.next("work", 0) == ("C", 1)
    offers.came("work")
    assert offers.next("work", 0) is None
