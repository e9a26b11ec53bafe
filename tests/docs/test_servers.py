"""Every way to start a server that the documentation names serves a WebSocket."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import pytest

from . import pages
from .pages import ROOT, Block
from .serving import assert_echoes, free_port, running

SERVERS = ROOT / "docs" / "servers.md"
TABLE = pages.rows(pages.section(ROOT / "README.md", "Servers"))
#: Rows with a line of Python; the page about servers has the whole program.
IN_PYTHON = [name for name, start, _ in TABLE if start.endswith(")`")]
COMMANDS = {
    f"{page.name}: {command}": command
    for page, lines in (
        (ROOT / "README.md", [start.strip("`") for _, start, _ in TABLE]),
        (SERVERS, [b.code for b in pages.blocks(SERVERS, "sh")]),
    )
    for line in lines
    for command in line.splitlines()
    if not command.endswith(")")
}
#: The same for ASGI servers, with the page's own mysite/asgi.py.
ASGI = ROOT / "docs" / "asgi.md"
ASGI_COMMANDS = {
    name: start.strip("`")
    for name, start, _ in pages.rows(pages.section(ASGI, "Start"))
}
[ASGI_MODULE] = [
    b.code for b in pages.blocks(ASGI, "python") if "mysite/asgi.py" in b.code
]
PROGRAMS = [b for b in pages.blocks(SERVERS, "python") if "__main__" in b.code]

#: A project as the commands assume it.
FILES = {
    "manage.py": """
from django.core.management import execute_from_command_line
execute_from_command_line()
""",
    "mysite/__init__.py": "",
    "mysite/settings.py": """
SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "mysite.urls"
""",
    "mysite/urls.py": """
from django.urls import path
from dwebsocket import websocket

@websocket
def echo(request):
    for message in request.websocket:
        request.websocket.send(message)

urlpatterns = [path("echo/", echo)]
""",
    "mysite/wsgi.py": """
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the directory of a project called mysite."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def _serve(command: list[str], project: Path, port: int, stop: int) -> None:
    variables = {
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}",
    }
    with running(command, project, stop, **variables):
        assert_echoes(f"ws://127.0.0.1:{port}/echo/")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_command_serves(command: str, project: Path) -> None:
    port = free_port()
    words = shlex.split(command.replace("8000", str(port)))
    if "runserver" in words:
        words.append(str(port))
    # gunicorn's quick stop can lock itself up in gthread (it shuts the pool down, also
    # when the signal came in the middle of a submit); uWSGI reloads on SIGTERM.
    stop = signal.SIGTERM if words[0] == "gunicorn" else signal.SIGINT
    _serve(words, project, port, stop)


@pytest.mark.parametrize("command", ASGI_COMMANDS.values(), ids=ASGI_COMMANDS)
def test_the_command_of_an_asgi_server_serves(command: str, project: Path) -> None:
    port = free_port()
    (project / "mysite" / "asgi.py").write_text(ASGI_MODULE)
    words = shlex.split(command.replace("8000", str(port)))
    stop = signal.SIGTERM
    if "runserver" in words:
        words.append(str(port))
        stop = signal.SIGINT
        with (project / "mysite" / "settings.py").open("a") as settings:
            settings.write('INSTALLED_APPS = ["daphne"]\n')
            settings.write('ASGI_APPLICATION = "mysite.asgi.application"\n')
    _serve(words, project, port, stop)


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.name)
def test_the_program_serves(block: Block, project: Path) -> None:
    port = free_port()
    (project / "serve.py").write_text(block.code.replace("8000", str(port)))
    # They bring no handler for a signal, so that Ctrl-C ends some with a traceback.
    _serve(["python", "serve.py"], project, port, signal.SIGTERM)


def test_each_line_of_python_has_its_program() -> None:
    assert len(IN_PYTHON) == len(PROGRAMS)
