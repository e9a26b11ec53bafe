"""When the checks of a login begin and end; Django's signals are in test_users.py."""

from __future__ import annotations

import pytest

from dwebsocket.logins import following
from dwebsocket.logins.watching import watcher
from tests.python.logins.test_watching import Fake


class Known(Fake):
    """A login without a user."""

    def remember(self):
        """Do nothing."""

    def follow(self):
        """Do nothing."""


@pytest.fixture
def found():
    found = Known(-1)
    yield found
    watcher.remove(-1)


def test_a_login_is_watched_until_its_view_ends(found):
    following.begin(found, 600)
    assert -1 in watcher._watches
    following.end(found)
    assert -1 not in watcher._watches


def test_a_login_whose_view_has_ended_meanwhile_is_not_watched(found):
    following.end(found)
    following.begin(found, 600)
    assert -1 not in watcher._watches
