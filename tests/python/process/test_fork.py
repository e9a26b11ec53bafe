from __future__ import annotations

import errno
import os
import threading
import warnings
from contextlib import suppress

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


def test_a_process_does_it_once_and_its_child_anew():
    calls = []

    @fork.once
    def note():
        """Note a call."""
        calls.append(os.getpid())

    assert (note.__name__, note.__doc__) == ("note", "Note a call.")
    assert not note.is_done()
    note()
    note()
    assert note.is_done()
    assert calls == [os.getpid()]
    with warnings.catch_warnings():
        # Python 3.12 tells that there are threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        before = note.is_done()
        note()
        note()
        os._exit(1 if before or calls[1:] != [os.getpid()] else 0)
    assert os.waitpid(child, 0)[1] == 0
    note.forget()
    note()
    assert calls == [os.getpid()] * 2


def test_it_is_done_once_by_all_threads():
    calls = []
    begun, go_on = threading.Event(), threading.Event()

    @fork.once
    def note():
        begun.set()
        go_on.wait(30)
        calls.append(1)

    threads = [threading.Thread(target=note) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    # Nobody goes on before it is done.
    assert all(thread.is_alive() for thread in threads)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert calls == [1]


def test_what_has_failed_is_tried_again():
    answers = iter([ValueError("no"), False, None])
    calls = []

    @fork.once
    def attempt():
        answer = next(answers)
        calls.append(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="no"):
        attempt()
    for _ in range(3):
        attempt()
    assert len(calls) == 3


def test_a_child_can_ask_about_a_connection_of_its_parent(pair):
    (kept, peer), (closed, other) = pair(), pair(modern=True)
    other.close(4000, "why")
    assert closed.wait() is None
    member_id = kept.member_id
    with warnings.catch_warnings():
        # Python 3.12 tells that there are threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 1
        with suppress(BaseException):
            # A lock of the parent may be held: no descriptor is made.
            with pytest.raises(OSError, match="another process") as raised:
                kept.fileno()
            assert raised.value.errno == errno.EBADF
            assert kept.close_code is None
            assert (closed.close_code, closed.close_reason) == (4000, "why")
            # `exclude=kept` in the child still means the connection of the parent.
            assert kept.member_id == member_id
            assert kept.can_read()
            assert kept.wait() is None
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    peer.send("x")
    assert kept.wait() == b"x"
