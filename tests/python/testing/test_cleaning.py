"""What one test leaves to the next: nothing."""

from __future__ import annotations

import unittest
from typing import Any

import pytest
from django.test import Client, SimpleTestCase, override_settings

from dwebsocket import _engine, hub, push
from dwebsocket.hub import connecting
from dwebsocket.testing import connect, reset


def test_histories_are_forgotten() -> None:
    group = hub.group("cleaning", history=5)
    group.send("a message")
    assert len(group.history()) == 1
    reset()
    assert group.history() == []
    assert _engine.hub_stats().groups == 0


def test_a_group_with_members_keeps_its_history(client: Client) -> None:
    with connect(client, "/room/cleaning/") as ws:
        ws.send("a message")
        reset()
        assert len(hub.group("cleaning", history=10).history()) == 1
    reset()
    assert hub.group("cleaning", history=10).history() == []


def test_members_and_users_leave_with_the_client(client: Client) -> None:
    for _ in range(50):
        with connect(client, "/room/present/"):
            assert hub.group("present").count() == 1
        assert hub.group("present").count() == 0
        assert hub.group("present").members() == []
        assert push.to_all("nobody").local == 0


class Cases(SimpleTestCase):
    """Run by the test below."""

    def test_a(self) -> None:
        with connect(self.client, "/room/case/") as ws:
            assert ws.receive_json()["missed"] == 0
            ws.send("a message")

    test_b = test_a


def test_the_tests_of_a_testcase_are_apart() -> None:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Cases).run(result)
    assert (result.testsRun, result.errors, result.failures) == (2, [], [])


def test_settings_hold_as_long_as_they_are_overridden(client: Client) -> None:
    for size, code in ((10, 1009), (1000, 1000)):
        with (
            override_settings(DWEBSOCKET={"MAX_MESSAGE_SIZE": size}),
            connect(client, "/echo/") as ws,
        ):
            ws.send("x" * 100)
        assert ws.close_code == code


def test_settings_that_cannot_be_used_change_nothing() -> None:
    with override_settings(DWEBSOCKET={"BROKER": "nonsense"}):
        pass
    with override_settings(DWEBSOCKET={"NO_SUCH_KEY": 1}):
        pass
    connecting.follow_settings()
    assert hub.stats().broker == "none"


@pytest.fixture(autouse=True)
def clean() -> Any:
    yield
    reset()
