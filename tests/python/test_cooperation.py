"""Where gevent has patched nothing, what may wait for the broker just does so."""

from __future__ import annotations

import threading

import pytest
from django.test import override_settings

from dwebsocket import cooperation


@pytest.mark.parametrize("broker", [None, "redis://localhost/"])
def test_a_thread_waits_for_itself(broker):
    with override_settings(DWEBSOCKET={"BROKER": broker}):
        here = threading.get_ident()
        assert not cooperation.is_patched()
        assert cooperation.call(threading.get_ident) == here
        with pytest.raises(ValueError, match="base 10"):
            cooperation.call(int, "x")
