"""docs/logging.md: each recipe runs with the real library, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from . import pages

PAGE = pages.ROOT / "docs" / "logging.md"

_SITE = """
import contextlib, logging, os, runpy, sys
recipe = runpy.run_path(sys.argv[1], run_name="recipe")
from django.conf import settings
settings.configure(
    SECRET_KEY="only for tests", DEBUG=False, ALLOWED_HOSTS=["*"], USE_TZ=True,
    ROOT_URLCONF="tests.urls", ADMINS=[("Ana", "ana@example.com")],
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
    DWEBSOCKET={"SHUTDOWN_TIMEOUT": 0.2},
    **{key: recipe[key] for key in ("LOGGING",) if key in recipe},
)
import django
django.setup()
from django.core import mail
from dwebsocket import runners, websocket
from tests.python.live import HANDSHAKE, Site
from websockets.exceptions import ConnectionClosed

mail.outbox = []

@websocket
def echo(request):
    for message in request.websocket:
        request.websocket.send(message)

@websocket
def broken(request):
    raise ValueError("the view is broken")

def visit(site, path, code=1000):
    with site.connect(path) as peer:
        if path == "broken/":
            with contextlib.suppress(ConnectionClosed):
                peer.recv()
        else:
            peer.send("x")
            assert peer.recv() == "x"
            peer.close(code, "bye")
    assert runners.join(20)

def refuse(site):
    answer, _ = site.request("echo/", **(HANDSHAKE | {"Sec_WebSocket_Key": "short"}))
    assert answer.status == 400, answer.status

site = Site({"echo/": echo, "broken/": broken}, {})
# A failure would wait for the server's thread.
sys.excepthook = lambda *error: (sys.__excepthook__(*error), os._exit(1))
"""


def _recipe(title: str) -> str:
    """Return the code of a section."""
    text = PAGE.read_text()
    section = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    [block] = [b for b in pages.blocks(PAGE, "python") if b.code.strip() in section]
    return block.code


def _run(
    tmp_path: Path, code: str, script: str, before: str = "", env: str = ""
) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "recipe.py"
    file.write_text(code)
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            textwrap.dedent(before) + _SITE + textwrap.dedent(script) + "\nsite.stop()",
            str(file),
        ],
        cwd=pages.ROOT,
        env=os.environ | {"PYTHONPATH": str(pages.ROOT), "SENTRY_DSN": env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_site_without_a_setting_has_the_warnings_on_standard_error(tmp_path):
    done = _run(tmp_path, "", 'visit(site, "echo/"); refuse(site)')
    [line] = done.stderr.splitlines()
    assert line.startswith(
        "WebSocket refused (400): /echo/ for a visitor at 127.0.0.1: "
    )


def test_refusals_by_others_are_on_standard_error(tmp_path):
    done = _run(
        tmp_path,
        "",
        """
        from django.core.exceptions import PermissionDenied
        def outer(request):
            raise PermissionDenied
        site.stop()
        site = Site({"closed/": outer, "echo/": echo}, {})
        for path, status in (("closed/", 403), ("nowhere/", 404)):
            assert site.request(path, **HANDSHAKE)[0].status == status
            # A plain request is no matter of this package.
            assert site.request(path)[0].status == status
        """,
    )
    # Django adds a traceback.
    beginnings = ("Forbidden", "Not Found")
    assert [s for s in done.stderr.splitlines() if s.startswith(beginnings)] == [
        "Forbidden (Permission denied): /closed/",
        "Not Found: /nowhere/",
    ]


def test_opening_and_closing(tmp_path):
    done = _run(tmp_path, _recipe("Opening and closing"), 'visit(site, "echo/", 4000)')
    [line] = done.stderr.splitlines()
    assert " INFO dwebsocket.closed WebSocket closed (4000, bye): /echo/ for " in line
    assert "INFO dwebsocket.closed WebSocket closed (1001): " in PAGE.read_text()


def test_mail_to_admins(tmp_path):
    done = _run(
        tmp_path,
        _recipe("Mail to ADMINS"),
        """
        visit(site, "broken/")
        [letter] = mail.outbox
        assert letter.to == ["ana@example.com"], letter.to
        assert "/broken/" in letter.subject, letter.subject
        assert "the view is broken" in letter.body
        refuse(site)
        assert len(mail.outbox) == 1
        logging.getLogger("dwebsocket.engine").warning("the broker is away: redis://a")
        assert "the broker is away" in mail.outbox[1].subject
        """,
    )
    # What is mailed is on standard error, too.
    assert "the broker is away: redis://a" in done.stderr
    assert "WebSocket refused (400)" in done.stderr


def test_sentry(tmp_path):
    _run(
        tmp_path,
        _recipe("Sentry"),
        """
        visit(site, "broken/")
        refuse(site)
        [event] = events
        [error] = event["exception"]["values"]
        assert (error["type"], error["value"]) == ("ValueError", "the view is broken")
        assert error["stacktrace"]["frames"][-1]["function"] == "broken"
        assert event["request"]["url"].endswith("/broken/"), event["request"]
        request = type("Request", (), {"path": "/a/"})
        logging.getLogger("dwebsocket.view").warning("odd", extra={"request": request})
        assert events[1]["logentry"]["message"] == "odd"
        assert events[1]["tags"]["path"] == "/a/"
        """,
        before="""
        import sentry_sdk
        from sentry_sdk.transport import Transport
        events = []
        class Kept(Transport):
            def capture_envelope(self, envelope):
                event = envelope.get_event()
                if event is not None:
                    events.append(event)
        real = sentry_sdk.init
        sentry_sdk.init = lambda **options: real(transport=Kept, **options)
        """,
        env="http://public@127.0.0.1:9/1",
    )


def test_opentelemetry(tmp_path):
    _run(
        tmp_path,
        _recipe("OpenTelemetry"),
        """
        def open_now():
            [resource] = reader.get_metrics_data().resource_metrics
            [scope] = resource.scope_metrics
            [metric] = scope.metrics
            assert metric.name == "websocket.open"
            [point] = metric.data.data_points
            return point.value

        with site.connect("echo/") as peer:
            peer.send("x")
            assert peer.recv() == "x"
            assert open_now() == 1
        assert runners.join(20)
        assert open_now() == 0
        [span] = exporter.get_finished_spans()
        assert span.name == "WebSocket" and span.parent is None
        assert dict(span.attributes) == {
            "url.path": "/echo/", "websocket.close_code": 1000,
        }
        assert span.status.is_unset
        exporter.clear()
        visit(site, "echo/", 4000)
        [span] = exporter.get_finished_spans()
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.status.description == "bye"
        """,
        before="""
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
            InMemorySpanExporter,
        )
        exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
        trace.set_tracer_provider(TracerProvider())
        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
        metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
        """,
    )


def test_structlog(tmp_path):
    done = _run(
        tmp_path,
        _recipe("structlog"),
        """
        visit(site, "echo/", 4000)
        visit(site, "broken/")
        """,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == [
        "dwebsocket.opened",
        "dwebsocket.closed",
        "dwebsocket.opened",
        "dwebsocket.view",
        "dwebsocket.closed",
    ]
    assert lines[0]["event"].startswith("WebSocket opened: /echo/")
    assert lines[0]["level"] == "info"
    assert (lines[1]["close_code"], lines[1]["close_reason"]) == (4000, "bye")
    assert lines[1]["seconds"] >= 0
    assert "ValueError: the view is broken" in lines[3]["exception"]


@pytest.mark.parametrize("name", ["sentry_sdk", "opentelemetry", "structlog"])
def test_nothing_of_it_is_imported_by_the_package(name):
    code = f"import dwebsocket.decorators, sys; assert {name!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
