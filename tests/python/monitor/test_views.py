"""The views, called as Django calls them."""

from __future__ import annotations

import json
import sys

import pytest
from django.test import RequestFactory, override_settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as older_families

from dwebsocket import _engine, monitor
from dwebsocket.exceptions import ConfigurationError
from dwebsocket.hub import connecting
from dwebsocket.process import exit

GET = RequestFactory().get("/")


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        (
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text",
            text_string_to_metric_families,
        ),
        ("text/plain", "text/plain", older_families),
        ("", "text/plain", older_families),
        ("*/*", "text/plain", older_families),
    ],
)
def test_the_format_follows_the_header(accept: str, kind: str, parse) -> None:
    response = monitor.metrics(RequestFactory().get("/", HTTP_ACCEPT=accept))
    assert response.status_code == 200
    assert response["Content-Type"].startswith(kind)
    assert "Accept" in response["Vary"]
    assert "no-cache" in response["Cache-Control"]
    families = {family.name for family in parse(response.content.decode())}
    assert {"dwebsocket_connections", "dwebsocket_round_trip_seconds"} <= families


def test_a_registry_of_the_project_may_have_the_figures() -> None:
    registry = CollectorRegistry()
    registry.register(monitor.Collector("machine"))
    assert b"dwebsocket_processes" in generate_latest(registry)


def test_without_the_library_an_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match=r"dwebsocket-rs\[metrics\]"):
        monitor.metrics(GET)
    assert monitor.live(GET).status_code == 200
    assert monitor.ready(GET).status_code == 200


def test_the_views_only_read() -> None:
    post = RequestFactory().post("/")
    for view in (monitor.metrics, monitor.live, monitor.ready):
        assert view(post).status_code == 405


def test_a_process_that_ends_is_not_ready(monkeypatch) -> None:
    assert json.loads(monitor.ready(GET).content) == {"status": "ready"}
    monkeypatch.setattr(exit, "stopping", lambda: True)
    response = monitor.ready(GET)
    assert response.status_code == 503
    assert json.loads(response.content) == {"status": "stopping"}
    assert response["Retry-After"]
    assert monitor.live(GET).status_code == 200


@pytest.mark.parametrize(
    ("state", "status"), [("connected", "ready"), ("away", "degraded")]
)
def test_a_broker_that_is_away_degrades(monkeypatch, state: str, status: str) -> None:
    monkeypatch.setattr(connecting, "connect", lambda: None)

    class Stats:
        broker = state

    monkeypatch.setattr(_engine, "hub_stats", Stats)
    with override_settings(DWEBSOCKET={"BROKER": "redis://127.0.0.1:1/0"}):
        response = monitor.ready(GET)
    assert response.status_code == 200
    assert json.loads(response.content) == {"status": status, "broker": state}
