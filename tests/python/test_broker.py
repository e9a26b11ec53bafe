"""How a process finds the others; tests/servers talks to a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from django.test import override_settings

from dwebsocket import ConfigurationError, _engine, broker, checks, hub


@pytest.fixture
def fresh(monkeypatch):
    """Forget that this process has been through it."""
    monkeypatch.setattr(broker, "_connected_in", None)
    monkeypatch.setattr(broker, "_looked", False)
    monkeypatch.setattr(broker, "_several", False)
    monkeypatch.setattr(checks, "workers", lambda: 1)


def test_it_connects_once(fresh, monkeypatch):
    asked = []
    monkeypatch.setattr(_engine, "hub_configure", lambda **given: asked.append(given))
    settings = {"BROKER_PREFIX": "mine", "BROKER_TIMEOUT": 1}
    with override_settings(DWEBSOCKET=settings):
        for _ in range(3):
            broker.connect()
    assert asked == [{"broker": None, "prefix": "mine", "timeout": 1.0}]


def test_a_forked_child_connects_anew(fresh, monkeypatch):
    asked = []
    monkeypatch.setattr(_engine, "hub_configure", lambda **given: asked.append(given))
    broker.connect()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    broker.connect()
    assert len(asked) == 2


def test_a_bad_url_names_the_setting_and_is_met_again(fresh):
    with override_settings(DWEBSOCKET={"BROKER": "gopher://localhost"}):
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"DWEBSOCKET\['BROKER'\]"):
                hub.group("broker.a").send("x")


@pytest.mark.parametrize("said", ["by the server", "by its arguments"])
def test_several_workers_are_warned_of_once_and_when_groups_are_used(
    fresh, monkeypatch, caplog, said
):
    if said == "by the server":
        broker.note_server(True)
    else:
        monkeypatch.setattr(checks, "workers", lambda: 2)
    broker.connect()
    assert caplog.text == ""
    for _ in range(2):
        hub.group("broker.several").send("x")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "DWEBSOCKET['BROKER']" in record.message


def test_one_worker_is_not_warned_of(fresh, caplog):
    hub.group("broker.one").send("x")
    assert caplog.text == ""


def test_a_process_without_connections_ends_in_time():
    script = textwrap.dedent(
        """
        from django.conf import settings
        settings.configure(DWEBSOCKET={
            "BROKER": "redis://127.0.0.1:1/0",
            "BROKER_TIMEOUT": 0.1,
            "SHUTDOWN_TIMEOUT": 0.5,
            "GROUPS": {"kept": {"history": 5}},
        })
        from dwebsocket import push, shutdown
        print(push.to_group("kept", "x").broker)
        print(push.to_group("other", "x").broker)
        assert shutdown._armed_in is not None
        """
    )
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # What the engine has to say comes out, too.
    assert "the broker is away" in done.stderr
    assert done.stdout.split() == ["pending", "unavailable"]
