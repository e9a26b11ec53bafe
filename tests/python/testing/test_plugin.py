"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

SETTINGS = "tests.python.testing.project.settings"


def run(directory: Path, code: str, *args: str) -> str:
    """Run tests in a project with pytest-django; return pytest's output."""
    (directory / "test_it.py").write_text(code)
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly"),
            *("-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(directory)),
            *("--ds", SETTINGS, "--strict-markers", *args, str(directory)),
        ],
        env=os.environ | {"TESTING_DATABASE": json.dumps(database)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def outcome(output: str) -> str:
    """Return the counts of a run, without the time."""
    found = re.search(r"^\d.*(?= in )", output, re.MULTILINE)
    assert found, output
    return found[0]


GOOD = """
import pytest
from django.contrib.auth.models import User
from dwebsocket import hub
from tests.python.testing import views

def test_echo(ws_connect, admin_user):
    ws = ws_connect("/about/", user=admin_user)
    ws.send("user")
    assert ws.receive() == "admin"

def test_two_users(ws_connect, client, django_user_model):
    ana, bo = (User.objects.create(username=name) for name in ("ana", "bo"))
    with ws_connect("/about/", user=ana) as a, ws_connect("/about/", user=bo) as b:
        for ws in (a, b):
            ws.send("user")
        assert (a.receive(), b.receive()) == ("ana", "bo")
    assert "sessionid" not in client.cookies

test_two_users = pytest.mark.django_db(test_two_users)

@pytest.mark.django_db
def test_the_clients_own_login(ws_connect, client):
    client.force_login(User.objects.create(username="ana"))
    with ws_connect("/about/") as ws:
        ws.send("user")
        assert ws.receive() == "ana"

@pytest.mark.django_db(transaction=True)
def test_without_a_transaction(ws_connect):
    with ws_connect("/groups/") as ws:
        ws.send("one")
        assert ws.receive() == "0"

def test_another_client(ws_connect):
    from django.test import Client
    with ws_connect("/about/", client=Client(HTTP_X_TOKEN="abc")) as ws:
        ws.send("HTTP_X_TOKEN")
        assert ws.receive() == "abc"

@pytest.mark.parametrize("turn", [1, 2])
def test_nothing_stays(ws_connect, turn):
    ws = ws_connect("/room/one/")
    assert ws.receive_json() == {"missed": 0, "members": 1}
    ws.send("for the history")
    assert len(hub.group("one", history=10).history()) == 1

def test_asynchronous(aws_connect, admin_user):
    import asyncio
    async def test():
        async with aws_connect("/echo/") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        ws = await aws_connect("/echo/")
        await ws.send("open until the end of the test")
    asyncio.run(test())

@pytest.mark.websocket_may_outlive
def test_a_view_may_outlive(ws_connect):
    from dwebsocket.testing import connect
    from django.test import Client
    ws_connect("/hangs/")
    with connect(Client(), "/hangs/"):
        pass

def test_end_them():
    views.go_on.set()

@pytest.mark.django_db(transaction=True)
def test_a_live_server(live_ws_url):
    from websockets.sync.client import connect
    assert live_ws_url.startswith("ws://")
    with connect(live_ws_url + "/echo/") as ws:
        ws.send("hello")
        assert ws.recv() == "hello"
"""

BAD = """
def test_an_error_after_the_test(ws_connect):
    ws_connect("/fails-at-the-end/")

def test_it_does_not_end(ws_connect):
    ws_connect("/hangs/", timeout=0.1)

def test_the_database_is_forbidden(ws_connect):
    with ws_connect("/groups/") as ws:
        ws.send("one")
"""

LIGHT = """
import sys

def test_nothing_is_imported():
    assert not [name for name in sys.modules if name.startswith("dwebsocket.testing")]
"""


def test_fixtures_and_marker(tmp_path: Path) -> None:
    output = run(tmp_path, GOOD)
    assert outcome(output) == "11 passed", output


def test_failures_are_those_of_the_test(tmp_path: Path) -> None:
    output = run(tmp_path, BAD)
    assert outcome(output) == "1 failed, 2 passed, 2 errors", output
    assert "ValueError: the view has failed late" in output
    assert "ViewNotEnded: The view tests.python.testing.views.hangs" in output
    assert "Database access not allowed" in output


def test_the_marker_is_listed(tmp_path: Path) -> None:
    assert "@pytest.mark.websocket_may_outlive:" in run(tmp_path, "", "--markers")


def test_other_projects_import_nothing(tmp_path: Path) -> None:
    assert outcome(run(tmp_path, LIGHT)) == "1 passed"
    code = (
        "import sys, pytest_dwebsocket; "
        "print([name for name in sys.modules if 'django' in name or "
        "name.startswith('dwebsocket')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
