"""Values that threads of the chat share."""

from __future__ import annotations

import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from dwebsocket.contrib.chat import shared
from dwebsocket.contrib.chat.shared import Shared
from tests.python.clock import Clock

#: Seconds until a test gives up.
PATIENCE = 10.0


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that the test moves."""
    made = Clock()
    monkeypatch.setattr(shared, "time", made)
    return made


def test_a_value_is_given_to_others_for_a_while(clock) -> None:
    values = Shared[int](1.0)
    assert values.get("a", lambda: 1) == 1
    clock.now += 0.9
    assert values.get("a", lambda: 2) == 1
    assert values.get("b", lambda: 3) == 3
    clock.now += 0.2
    assert values.get("a", lambda: 4) == 4
    values.forget("a")
    assert values.get("a", lambda: 5) == 5
    assert values.get("b", lambda: 6) == 3


def test_old_values_take_no_memory(clock) -> None:
    values = Shared[int](1.0)
    for number in range(100):
        values.get(str(number), lambda: 1)
    clock.now += 1.0
    values.get("a", lambda: 1)
    assert list(values._found) == ["a"]


class Slow:
    """A computation that waits for the test."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> int:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return 1


def test_threads_at_the_same_time_share_a_computation() -> None:
    values, slow = Shared[int](PATIENCE), Slow()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(values.get, "a", slow)
        assert slow.begun.wait(PATIENCE)
        others = [pool.submit(values.get, "a", lambda: 2) for _ in range(3)]
        slow.go_on.set()
        assert [each.result(PATIENCE) for each in (first, *others)] == [1] * 4


def test_what_is_forgotten_meanwhile_is_computed_again() -> None:
    values, slow = Shared[int](PATIENCE), Slow()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(values.get, "a", slow)
        assert slow.begun.wait(PATIENCE)
        values.forget("a")
        assert values.get("a", lambda: 2) == 2
        slow.go_on.set()
        assert first.result(PATIENCE) == 1
    assert values.get("a", lambda: 3) == 2


def test_a_failure_is_that_of_one_thread() -> None:
    values, slow = Shared[int](PATIENCE), Slow()

    def fail() -> int:
        slow()
        raise ValueError("no")

    with ThreadPoolExecutor() as pool:
        first = pool.submit(values.get, "a", fail)
        assert slow.begun.wait(PATIENCE)
        other = pool.submit(values.get, "a", lambda: 2)
        slow.go_on.set()
        with pytest.raises(ValueError, match="no"):
            first.result(PATIENCE)
        assert other.result(PATIENCE) == 2


def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    values, slow = Shared[int](PATIENCE), Slow()
    with ThreadPoolExecutor() as pool:
        pool.submit(values.get, "a", slow)
        assert slow.begun.wait(PATIENCE)
        with warnings.catch_warnings():
            # Python 3.12 tells that there are threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            found = 1
            try:
                found = values.get("a", lambda: 7)
            finally:
                # The child must not go on with the tests.
                os._exit(found)
        slow.go_on.set()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
