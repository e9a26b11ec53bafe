"""Where gevent has patched nothing, what may wait for the broker just does so."""

from __future__ import annotations

import threading

import pytest
from django.test import override_settings

from dwebsocket.hub import blocking
from dwebsocket.process.gevent import is_patched


@pytest.mark.parametrize("broker", [None, "redis://localhost/"])
def test_a_thread_waits_for_itself(broker):
    with override_settings(DWEBSOCKET={"BROKER": broker}):
        here = threading.get_ident()
        assert not is_patched()
        assert blocking.call(threading.get_ident) == here
        with pytest.raises(ValueError, match="base 10"):
            blocking.call(int, "x")
