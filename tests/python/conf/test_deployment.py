from __future__ import annotations

import pytest
from django.test import override_settings

from dwebsocket import conf


def found(**settings):
    with override_settings(DWEBSOCKET=settings):
        return [(danger.id[-4:], danger.message) for danger in conf.dangers()]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"SHUTDOWN_SPREAD": 20, "SHUTDOWN_TIMEOUT": 9.9}, []),
        ({"SHUTDOWN_SPREAD": 20, "SHUTDOWN_TIMEOUT": 10}, ["W009"]),
        ({"ACCEPT_ALL": True}, ["W010"]),
        ({"PING_INTERVAL": None}, ["W011"]),
        ({"MAX_MESSAGE_SIZE": 1 << 26, "OUTBOX_BYTES": 1 << 26}, []),
        ({"MAX_MESSAGE_SIZE": 1 << 27, "INBOX_BYTES": 1 << 30}, ["W012", "W012"]),
        ({"OUTBOX_BYTES": 1 << 30}, ["W012"]),
        ({"BROKER": "redis://localhost:6379/0"}, []),
        ({"BROKER": "redis://127.0.0.1"}, []),
        ({"BROKER": "redis://[::1]:6379/0"}, []),
        ({"BROKER": "redis://10.0.0.5:6379/0"}, ["W013"]),
        ({"BROKER": "redis://redis:6379/0"}, ["W013"]),
        ({"BROKER": "redis://:pw@redis:6379/0"}, []),
        ({"BROKER": "rediss://redis:6379/0"}, []),
        ({"BROKER": "nats://a:4222,b:4222"}, ["W013"]),
        ({"BROKER": "nats://token@a:4222"}, []),
        # Wrong values are errors of another check.
        ({"SHUTDOWN_SPREAD": "long", "BROKER": "nonsense", "ACCEPT_ALL": 1}, []),
    ],
)
def test_dangers_are_found(settings, expected):
    assert [number for number, _ in found(**settings)] == expected


def test_the_setting_is_named_with_its_value():
    [(_, message)] = found(SHUTDOWN_SPREAD=40)
    assert "45 seconds" in message
    assert "['SHUTDOWN_SPREAD']" in message
    [(_, message)] = found(OUTBOX_BYTES=1 << 30)
    assert "['OUTBOX_BYTES'] is 1073741824" in message


def test_the_old_name_counts_too():
    with override_settings(WEBSOCKET_ACCEPT_ALL=True):
        assert [danger.id for danger in conf.dangers()] == ["dwebsocket.W010"]
