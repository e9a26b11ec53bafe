"""The examples of docs/channels.md are a project whose tests pass, and that serves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dwebsocket import conf
from dwebsocket.websocket import WebSocket

from . import pages, serving
from .pages import ROOT

PAGE = ROOT / "docs" / "channels.md"

SETTINGS = """
from tests.settings import *
from mysite.documented import *

ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
del DWEBSOCKET  # no Redis here
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
}
"""

WSGI = """
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
"""


#: Makes the tables and a user that is logged in; prints the cookie.
_LOGIN = """
import django
django.setup()
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0, run_syncdb=True)
client = Client()
client.force_login(User.objects.create(username="ada"))
name = settings.SESSION_COOKIE_NAME
print(f"{name}={client.cookies[name].value}")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write each block to the file that its first line names."""
    for block in pages.blocks(PAGE, "python"):
        named = re.match(r"# (\S+\.py)\n", block.code)
        assert named, block.name
        file = tmp_path / named[1]
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.code)
    for package in ("mysite", "chat"):  # "tests" is this folder, too
        (tmp_path / package / "__init__.py").touch()
    mysite = tmp_path / "mysite"
    (mysite / "settings.py").rename(mysite / "documented.py")
    (mysite / "settings.py").write_text(SETTINGS)
    (mysite / "wsgi.py").write_text(WSGI)
    return tmp_path


def _environment(project: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{project}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
    }


@pytest.mark.timeout(120)
def test_its_tests_pass(project: Path) -> None:
    args = ["-c", os.devnull, "--rootdir", str(project), "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *args, "tests"],
        cwd=project,
        env=os.environ | _environment(project),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 passed" in done.stdout


def test_the_documented_settings_are_right(project: Path) -> None:
    found: dict[str, object] = {}
    exec((project / "mysite" / "documented.py").read_text(), found)
    assert conf.problems(found["DWEBSOCKET"]) == []
    # Two lines, as promised.
    code = (project / "mysite" / "documented.py").read_text().splitlines()
    assert len([line for line in code if not line.startswith("#")]) == 2


@pytest.mark.timeout(120)
def test_the_documented_command_serves(project: Path) -> None:
    """Consumers and views, and a synchronous view that sends to both kinds of views."""
    environment = _environment(project)
    cookie = subprocess.run(
        [sys.executable, "-c", _LOGIN],
        cwd=project,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()
    shell = "".join(block.code for block in pages.blocks(PAGE, "sh"))
    command = next(line for line in shell.splitlines() if "gunicorn" in line).split()
    port = serving.free_port()
    words = [*command, "--bind", f"127.0.0.1:{port}"]
    with serving.running(words, project, signal.SIGTERM, **environment):
        assert serving.get(port, "/announce/tea/?text=x")[1] == b"sent"
        for kind in ("consumer", "old", "view", "later"):
            url = f"ws://127.0.0.1:{port}/{kind}/tea/"
            with connect(url, additional_headers={"Cookie": cookie}) as peer:
                peer.send(json.dumps({"text": kind}))
                heard = json.loads(peer.recv(timeout=serving.LIMIT))
                assert heard == {"user": "ada", "text": kind}
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{port}/consumer/tea/")
        assert refused.value.response.status_code == 403


def test_the_table_names_what_there_is() -> None:
    rows = pages.rows(pages.section(PAGE, "Consumer to view"))
    assert len(rows) >= 19
    code = " ".join(row[-1] for row in rows)
    for method in re.findall(r"\bws\.(\w+)", code):
        assert hasattr(WebSocket, method), method
