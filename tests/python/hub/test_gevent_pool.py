"""Each test runs in a process of its own: patching by gevent cannot be undone."""

from __future__ import annotations

from tests.python.runners.test_greenlets import gevent_test


@gevent_test
def test_a_greenlet_waits_alone():
    """
    from dwebsocket.hub import gevent_pool
    begun, go = (monkey.get_original("threading", "Event")() for _ in range(2))
    ident = monkey.get_original("_thread", "get_ident")

    def wait(*, answer):
        begun.set()
        assert go.wait(20)
        return answer, ident()

    waiting = gevent.spawn(gevent_pool.call, wait, answer=5)
    while not begun.is_set():
        gevent.sleep(0.001)
    go.set()
    answer, thread = waiting.get(timeout=20)
    assert answer == 5 and thread != ident()
    """


@gevent_test
def test_what_it_raises_is_raised_and_not_printed():
    """
    from dwebsocket.hub import gevent_pool
    gevent.get_hub()
    try:
        gevent_pool.call(int, "x")
    except ValueError as error:
        assert "base 10" in str(error)
    else:
        raise AssertionError("nothing was raised")
    """


@gevent_test
def test_a_real_thread_and_the_hub_wait_for_themselves():
    """
    from dwebsocket.hub import gevent_pool
    ident = monkey.get_original("_thread", "get_ident")
    same = lambda: gevent_pool.call(ident) == ident()
    assert gevent.get_hub().threadpool.apply(same)
    got = []
    gevent.get_hub().loop.run_callback(lambda: got.append(same()))
    gevent.sleep(0.01)
    assert got == [True]
    """


@gevent_test
def test_without_a_broker_nobody_changes_threads():
    """
    from dwebsocket.hub import blocking
    from dwebsocket.process.gevent import is_patched
    ident = monkey.get_original("_thread", "get_ident")
    assert is_patched()
    assert gevent.spawn(blocking.call, ident).get(timeout=20) == ident()
    """


@gevent_test
def test_without_a_thread_the_broker_cannot_be_asked():
    """
    from dwebsocket.hub import gevent_pool
    import gevent.threadpool
    asked = []

    def refuse(self):
        raise RuntimeError("can't start new thread")

    gevent.get_hub()
    gevent.threadpool.ThreadPool._add_thread = refuse
    for _ in range(40):
        try:
            gevent_pool.call(asked.append, 1)
        except _engine.BrokerError as error:
            assert "no thread is left" in str(error)
        else:
            raise AssertionError("nothing was raised")
    assert asked == []
    """
