"""Leaves nothing of one test to the next."""

from __future__ import annotations

import sys
import unittest
from types import FrameType

from dwebsocket import _engine
from dwebsocket.hub import connecting

__all__ = ("reset", "reset_after_test")


def reset() -> None:
    """Forget what this process keeps between two tests.

    That are the histories of groups without members (those of a broker stay there), and
    the connection to a broker that the settings do not name any more. The pytest plugin
    calls this after each test, and :func:`~dwebsocket.testing.connect` has it called
    after the tests of a ``TestCase``.
    """
    connecting.follow_settings()
    _engine.hub_forget_histories()


def reset_after_test() -> None:
    """Have :func:`reset` called after the present test, if it is a ``TestCase``'s."""
    case = _running_case(sys._getframe(1))
    if case is not None:
        case.addCleanup(reset)


def _running_case(frame: FrameType | None) -> unittest.TestCase | None:
    """Return the test case whose ``run()`` is among the callers."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "run" and code.co_filename == unittest.case.__file__:
            found = frame.f_locals.get("self")
            if isinstance(found, unittest.TestCase):
                return found
        frame = frame.f_back
    return None
