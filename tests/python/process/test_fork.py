from __future__ import annotations

import os
import threading
import warnings

import pytest

from dwebsocket.process import fork


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_child_has_the_lock_that_another_thread_held(reentrant):
    lock = fork.Lock(reentrant=reentrant)
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    try:
        assert not lock.acquire(timeout=0.01)
        with warnings.catch_warnings():
            # Python 3.12 tells that there are threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            os._exit(0 if lock.acquire(timeout=5) else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        # The parent's thread still has it.
        assert not lock.acquire(timeout=0.01)
    finally:
        done.set()
        thread.join(10)
    assert lock.acquire(timeout=10)
    lock.release()


def test_only_a_reentrant_lock_is_taken_twice_by_one_thread():
    twice, once = fork.Lock(reentrant=True), fork.Lock()
    with twice, once:
        assert twice.acquire(timeout=0.01)
        twice.release()
        assert not once.acquire(timeout=0.01)
