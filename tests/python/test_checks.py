from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.core import checks as django_checks
from django.test import override_settings

from dwebsocket import checks
from dwebsocket.servers.workers import workers

OURS = "dwebsocket.middleware.WebSocketMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"


def ids(messages: list[django_checks.CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_a_project_without_settings_passes():
    assert checks.check_settings() == []
    assert checks.check_middleware() == []
    assert checks.check_origins() == []


def test_they_are_registered_without_the_app():
    registered = django_checks.registry.registry.get_checks()
    assert checks.check_settings in registered
    assert checks.check_middleware in registered


@override_settings(DWEBSOCKET=[])
def test_a_setting_that_is_no_dict_is_shown_like_other_errors():
    [found] = checks.check_settings()
    assert str(found) == "?: (dwebsocket.E001) DWEBSOCKET must be a dict, not list."


@override_settings(DWEBSOCKET={"MAX_CONECTIONS": 5})
def test_manage_py_check_names_an_unknown_key_and_its_neighbour():
    found = django_checks.run_checks(tags=["compatibility"])
    messages = [message for message in found if message.id == "dwebsocket.E001"]
    assert len(messages) == 1
    assert "'MAX_CONECTIONS'" in messages[0].msg
    assert "'MAX_CONNECTIONS'" in messages[0].msg


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"DWEBSOCKET": []}, ["dwebsocket.E001"]),
        ({"DWEBSOCKET": 7}, ["dwebsocket.E001"]),
        ({"DWEBSOCKET": None}, ["dwebsocket.E001"]),
        ({"DWEBSOCKET": {"NO": 1, "PING_TIMEOUT": 0}}, ["dwebsocket.E001", "E002"]),
        ({"WEBSOCKET_ACCEPT_ALL": "yes"}, ["dwebsocket.E002"]),
        ({"WEBSOCKET_FACTORY_CLASS": "no.such.Factory"}, ["dwebsocket.E003"]),
        ({"DWEBSOCKET": {"SERVERS": ["no.such.finder"]}}, ["dwebsocket.E003"]),
        ({"DWEBSOCKET": {"SERVERS": [".finder"]}}, ["dwebsocket.E003"]),
        ({"DWEBSOCKET": {"FACTORY_CLASS": "os.sep"}}, ["dwebsocket.E003"]),
        # None hides another.
        (
            {
                "DWEBSOCKET": {
                    "NO": 1,
                    "PING_TIMEOUT": 0,
                    "SERVERS": ["no.such.finder"],
                    "GROUPS": {"a": {"hist": 1}, "b": {"ttl": 0, "presence": 1}},
                },
                "WEBSOCKET_FACTORY_CLASS": "no.such.Factory",
                "WEBSOCKET_ACCEPT_ALL": 1,
            },
            ["E001", "E002", "E002", "E002", "E002", "E002", "E003", "E003"],
        ),
    ],
)
def test_settings(settings, expected):
    with override_settings(**settings):
        found = ids(checks.check_settings())
    assert [name.removeprefix("dwebsocket.") for name in found] == [
        name.removeprefix("dwebsocket.") for name in expected
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"MIDDLEWARE": [CSRF, OURS]}, []),
        ({"MIDDLEWARE": [OURS, COMMON]}, []),
        ({"MIDDLEWARE": [OURS, COMMON, CSRF]}, ["dwebsocket.W002"]),
        ({"MIDDLEWARE": [OURS, "no.such.Middleware"]}, []),
        ({"MIDDLEWARE_CLASSES": [OURS]}, ["dwebsocket.W001"]),
        ({"MIDDLEWARE_CLASSES": None}, []),
        (
            {"MIDDLEWARE_CLASSES": [OURS], "MIDDLEWARE": [OURS, CSRF]},
            ["dwebsocket.W001", "dwebsocket.W002"],
        ),
    ],
)
def test_middleware(settings, expected):
    with override_settings(**settings):
        assert ids(checks.check_middleware()) == expected


@pytest.mark.parametrize(
    ("origins", "named"),
    [
        (["wss://a.example", "https://a.example"], ["wss://a.example"]),
        (["WS://a.example:*", "ws://*.a.example"], ["WS://a.example:*", "ws://*.a.ex"]),
        (["https://ws", "chrome-extension://wss"], []),
        ("wss://a.example", []),
    ],
)
def test_an_origin_that_is_a_websockets_address_is_warned_of(origins, named):
    with override_settings(DWEBSOCKET={"ALLOWED_ORIGINS": origins}):
        found = [m for m in checks.check_settings() if m.id == "dwebsocket.W005"]
    assert len(found) == len(named)
    assert all(text in message.msg for text, message in zip(named, found, strict=True))


@pytest.mark.parametrize(
    ("settings", "hints"),
    [
        ({"DWEBSOCKETS": {}}, ["DWEBSOCKET = {...}"]),
        ({"DWEBSOCKET_BROKER": "redis://localhost"}, ["{'BROKER': ...}"]),
        (
            {"DWEBSOCKET_ALLOWED_ORIGINS": [], "DWEBSOCKET_PING_TIMEOUT": 1},
            ["{'ALLOWED_ORIGINS': ...}", "{'PING_TIMEOUT': ...}"],
        ),
        # What a project has for itself.
        ({"DWEBSOCKET_BROKER": "x", "DWEBSOCKET": {"BROKER": None}}, []),
        ({"DWEBSOCKET_HOST": "x"}, []),
    ],
)
def test_settings_that_nobody_reads_are_named(settings, hints):
    with override_settings(**settings):
        found = [m for m in checks.check_settings() if m.id == "dwebsocket.W008"]
    assert len(found) == len(hints)
    assert all(h in str(m.hint) for h, m in zip(hints, found, strict=True))
    assert not [m for m in found if "redis" in m.msg]


class TestInstallation:
    def test_is_in_order(self):
        assert checks.check_installation() == []

    def test_has_the_old_package_beside(self, monkeypatch, tmp_path):
        info = tmp_path / "dwebsocket-0.5.12.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: dwebsocket\nVersion: 0.5.12\n")
        monkeypatch.syspath_prepend(tmp_path)
        [message] = checks.check_installation()
        assert message.id == "dwebsocket.W006"
        assert "0.5.12" in message.msg
        assert "pip uninstall dwebsocket dwebsocket-rs" in str(message.hint)

    def test_has_an_asgi_runserver(self, monkeypatch, settings):
        monkeypatch.setattr(checks.apps, "is_installed", lambda name: name == "daphne")
        assert ids(checks.check_installation()) == ["dwebsocket.W007"]
        settings.ASGI_APPLICATION = "nowhere.application"
        assert ids(checks.check_installation()) == ["dwebsocket.W007"]
        settings.ASGI_APPLICATION = "tests.servers.site.asgi.application"
        assert checks.check_installation() == []


@pytest.mark.parametrize(
    ("origins", "count"),
    [
        (["*"], 1),
        (["null"], 1),
        (["*", "null", "not an origin"], 2),
        (["https://a.example"], 0),
        ("*", 0),
        (7, 0),
        (None, 0),
    ],
)
def test_deployment_with_any_origin_is_warned_of(origins, count):
    with override_settings(DWEBSOCKET={"ALLOWED_ORIGINS": origins}):
        assert ids(checks.check_origins()) == ["dwebsocket.W003"] * count


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost",
        "amqp://localhost",
        "redis://",
        "redis://:6379",
        "redis://localhost:port",
        "redis://localhost:70000",
        "redis://localhost:0",
        "redis://localhost/name",
        "redis://localhost/-1",
        "rediss://localhost#insecure",
        "unix://",
        "nats://",
        "nats://localhost:port",
        "nats://localhost:0",
        "nats://localhost?replicas=9",
    ],
)
def test_a_broker_that_cannot_be_used_is_an_error(url):
    with override_settings(DWEBSOCKET={"BROKER": url}):
        (message,) = checks.check_settings()
    assert message.id == "dwebsocket.E002"
    assert "DWEBSOCKET['BROKER']" in message.msg


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:s3cret@localhost:port",
        "redis://me:s3cret@localhost/name",
        "redis://me:s3#cret@localhost:1",
        "nats://me:s3cret@localhost:port",
        "nats://s3cret@localhost/path",
        ["redis://me:s3cret@localhost"],
    ],
)
def test_a_brokers_password_is_not_repeated(url):
    with override_settings(DWEBSOCKET={"BROKER": url}):
        (message,) = checks.check_settings()
    assert "s3" not in str(message)
    assert "cret" not in str(message)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "redis://localhost",
        "redis://me:s3cret@[::1]:6379/2",
        "rediss://localhost",
        "unix:///run/redis.sock",
        "nats://a,b:4223",
        "tls://localhost",
    ],
)
def test_a_broker_that_can_be_used_passes(url):
    with override_settings(DWEBSOCKET={"BROKER": url}):
        assert checks.check_settings() == []


PROJECT = {
    "manage.py": """
import os
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
execute_from_command_line()
""",
    "mysite/__init__.py": "",
    "mysite/settings.py": """
SECRET_KEY = "only for tests"
DEBUG = True
ROOT_URLCONF = "mysite.urls"
DWEBSOCKET = {"MAX_CONECTIONS": 5, "BROKER": "http://x", "ALLOWED_ORIGINS": ["*"]}
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
}


class TestManagePyCheck:
    """A project that decorates a view, and does nothing else."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        for name, text in PROJECT.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    def run(self, project: Path, *arguments: str) -> tuple[int, str]:
        ours = {"DJANGO_SETTINGS_MODULE", "RUN_MAIN"}
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=project,
            env={key: value for key, value in os.environ.items() if key not in ours},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def test_has_the_checks_without_the_app(self, project):
        status, said = self.run(project, "check")
        assert status == 1
        assert said.count("(dwebsocket.E001)") == 1
        assert said.count("(dwebsocket.E002)") == 1
        assert "dwebsocket.W003" not in said

    def test_has_them_once_with_the_app(self, project):
        with (project / "mysite" / "settings.py").open("a") as file:
            file.write("INSTALLED_APPS = ['dwebsocket']\n")
        status, said = self.run(project, "check")
        assert status == 1
        assert said.count("(dwebsocket.E001)") == 1

    def test_has_those_of_what_is_installed(self, project):
        info = project / "dwebsocket-0.5.12.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: dwebsocket\nVersion: 0.5.12\n")
        _, said = self.run(project, "check")
        assert said.count("(dwebsocket.W006)") == 1

    def test_has_those_of_a_deployment(self, project):
        with (project / "mysite" / "settings.py").open("a") as file:
            file.write("DWEBSOCKET['PING_INTERVAL'] = None\n")
        status, said = self.run(project, "check", "--deploy")
        assert status == 1
        assert said.count("(dwebsocket.W003)") == 1
        assert said.count("(dwebsocket.W011)") == 1
        assert "W011" not in self.run(project, "check")[1]

    def test_asks_no_other_tag(self, project):
        _, said = self.run(project, "check", "--tag", "urls")
        assert "dwebsocket." not in said

    def test_a_server_does_not_start(self, project):
        status, said = self.run(project, "runserver", "--noreload", "0")
        assert status == 1
        assert "dwebsocket.E001" in said


def test_a_run_is_joined_from_another_thread(monkeypatch):
    """The reloader imports the URLconf while a check waits for it."""
    registry = django_checks.registry.CheckRegistry()
    ran = []

    def late(app_configs, **kwargs):
        ran.append(True)
        return []

    def first(app_configs, **kwargs):
        late.tags = ("compatibility",)
        monkeypatch.setattr(checks, "check_settings", late)
        thread = threading.Thread(target=checks._join_running)
        thread.start()
        thread.join(30)
        return []

    registry.register(first, "compatibility")
    registry.run_checks()
    assert ran == [True]


class TestBroker:
    @pytest.mark.parametrize(
        ("words", "environ", "count"),
        [
            (["gunicorn", "site.wsgi", "-w", "3"], {}, 3),
            (["/usr/bin/gunicorn", "--workers=2"], {}, 2),
            (["gunicorn", "--workers", "many"], {}, 1),
            (["/bin/uvicorn/__main__.py", "site.asgi:app", "--workers", "4"], {}, 4),
            (["hypercorn", "-w", "2", "site.asgi:app"], {}, 2),
            (["granian", "--workers=3", "site.asgi:app"], {}, 3),
            (["manage.py", "check", "-w", "3"], {}, 1),
            (["manage.py"], {"WEB_CONCURRENCY": "4"}, 4),
            (["gunicorn"], {"GUNICORN_CMD_ARGS": "--bind :80 --workers=5"}, 5),
            (["gunicorn"], {"GUNICORN_CMD_ARGS": "-w4 --bind :80"}, 4),
            (["gunicorn", "-w=3"], {}, 3),
            (["gunicorn", "-w6", "site.wsgi"], {"GUNICORN_CMD_ARGS": "-w 4"}, 6),
        ],
    )
    def test_several_workers_need_one(self, monkeypatch, words, environ, count):
        monkeypatch.setattr("sys.argv", words)
        for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        assert workers() == count
        with override_settings(DWEBSOCKET={}):
            assert len(checks.check_broker()) == (count > 1)
        with override_settings(DWEBSOCKET={"BROKER": "redis://localhost"}):
            assert checks.check_broker() == []
