"""Tests of sites by dwebsocket.testing, with a real broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client, override_settings

from dwebsocket import _engine, hub
from dwebsocket.testing import connect
from tests.python.testing import views
from tests.servers.client import eventually
from tests.servers.redis import Redis


@pytest.fixture(autouse=True)
def urls() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=views.__name__):
        yield


def test_a_broker_is_used_as_long_as_it_is_set() -> None:
    client = Client()
    redis = Redis()
    try:
        options = {"BROKER": redis.url, "BROKER_PREFIX": "testing-a"}
        with override_settings(DWEBSOCKET=options):
            with connect(client, "/room/brokered/") as ws:
                eventually(lambda: hub.stats().broker == "connected")
                ws.send("a message")
            assert len(hub.group("brokered", history=10).history()) == 1
        assert hub.stats().broker == "none"
        assert hub.group("brokered", history=10).history() == []
        # Another prefix is another broker.
        with override_settings(DWEBSOCKET={**options, "BROKER_PREFIX": "testing-b"}):
            assert hub.group("brokered", history=10).history() == []
        with override_settings(DWEBSOCKET=options):
            assert len(hub.group("brokered", history=10).history()) == 1
        with connect(client, "/echo/") as ws:
            ws.send("without a broker")
            assert ws.receive() == "without a broker"
    finally:
        redis.close()
    assert _engine.broker_address() is None
