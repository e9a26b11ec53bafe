"""Turns, with actors that are no views."""

from __future__ import annotations

import os
import select
import threading
import time

from dwebsocket.testing.stage import PATIENCE, SLICE, Clock, Stage


class Actor:
    """An actor whose state a test sets."""

    def __init__(self) -> None:
        self.idle = 0
        self.running = self.free = False
        self.resting = self.working = self.atomic = False
        self.heard = True

    def rests(self) -> bool:
        return self.resting

    def worked(self) -> bool:
        return self.working

    def is_heard(self) -> bool:
        return self.heard

    def in_transaction(self) -> bool:
        return self.atomic


class Line:
    """A client that reads nothing; with a descriptor: it always could."""

    def __init__(self, number: int = -1) -> None:
        self.number = number
        self.over = number < 0

    def fileno(self) -> int:
        return self.number

    def events(self) -> int:
        return select.POLLOUT

    def transfer(self) -> None:
        time.sleep(0.0001)


def stage(*actors: Actor) -> Stage:
    found = Stage()
    for actor in actors:
        found.add(Line(), actor)
    return found


def test_a_clock_leaves_out_gaps() -> None:
    clock = Clock(SLICE * 8)
    time.sleep(SLICE * 12)
    # The gap counts as four slices.
    assert not clock.is_over()
    assert Clock(0).is_over()
    assert not Clock(None).is_over()


def test_no_actor_runs_while_the_test_is_outside() -> None:
    actor = Actor()
    found = stage(actor)
    thread = threading.Thread(target=found.enter, args=(actor,), daemon=True)
    thread.start()
    thread.join(SLICE * 4)
    assert thread.is_alive()
    assert not actor.running
    with found.open():
        thread.join(20)
    assert actor.running


def test_one_actor_runs_at_a_time() -> None:
    one, two = Actor(), Actor()
    found = stage(one, two)
    with found.open():
        found.enter(one)
        thread = threading.Thread(target=found.enter, args=(two,), daemon=True)
        thread.start()
        thread.join(SLICE * 4)
        assert not two.running
        found.rest(one)
        thread.join(20)
        assert two.running


def test_who_neither_rests_nor_works_is_overdue() -> None:
    actor = Actor()
    found = stage(actor)
    with found.open():
        found.enter(actor)
        assert found.until(found.settled, 20)
        assert actor.idle >= PATIENCE


def test_who_sends_all_the_time_without_work_is_overdue() -> None:
    actor = Actor()
    found = Stage()
    reader, writer = os.pipe()
    found.add(Line(writer), actor)
    with found.open():
        found.enter(actor)
        # The client still reads a large message.
        actor.heard = False
        assert not found.until(found.settled, SLICE * PATIENCE * 2)
        actor.heard = True
        assert found.until(found.settled, 20)
    os.close(reader)
    os.close(writer)


def test_who_works_or_is_in_a_transaction_is_waited_for() -> None:
    actor = Actor()
    found = stage(actor)
    with found.open():
        found.enter(actor)
        actor.working = True
        assert not found.until(found.settled, SLICE * PATIENCE * 2)
        actor.working, actor.atomic = False, True
        assert not found.until(found.settled, SLICE * PATIENCE * 2)
        actor.resting = True
        assert found.until(found.settled, 0)


def test_the_test_hears_of_a_change_at_once() -> None:
    actor = Actor()
    found = stage(actor)

    def end() -> None:
        found.enter(actor)
        actor.resting = True
        found.rest(actor)

    with found.open():
        thread = threading.Thread(target=end)
        thread.start()
        assert found.until(found.settled, 20)
        thread.join(20)


def test_a_stage_is_used_again() -> None:
    actor, line = Actor(), Line()
    found = Stage()
    for _ in range(3):
        found.add(line, actor)
        found.remove(line, actor)
