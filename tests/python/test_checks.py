from __future__ import annotations

import pytest
from django.core import checks as django_checks
from django.test import override_settings

from dwebsocket import checks

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


@override_settings(DWEBSOCKET={"MAX_CONECTIONS": 5})
def test_manage_py_check_names_an_unknown_key_and_its_neighbour():
    messages = [m for m in django_checks.run_checks() if m.id == "dwebsocket.E001"]
    assert len(messages) == 1
    assert "'MAX_CONECTIONS'" in messages[0].msg
    assert "'MAX_CONNECTIONS'" in messages[0].msg


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"DWEBSOCKET": []}, ["dwebsocket.E001"]),
        ({"DWEBSOCKET": {"NO": 1, "PING_TIMEOUT": 0}}, ["dwebsocket.E001", "E002"]),
        ({"WEBSOCKET_ACCEPT_ALL": "yes"}, ["dwebsocket.E002"]),
        ({"WEBSOCKET_FACTORY_CLASS": "no.such.Factory"}, ["dwebsocket.E003"]),
        ({"DWEBSOCKET": {"SERVERS": ["no.such.finder"]}}, ["dwebsocket.E003"]),
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
    ],
)
def test_middleware(settings, expected):
    with override_settings(**settings):
        assert ids(checks.check_middleware()) == expected


@override_settings(DWEBSOCKET={"ALLOWED_ORIGINS": ["*"]})
def test_deployment_with_any_origin_is_warned_of():
    assert ids(checks.check_origins()) == ["dwebsocket.W003"]


class TestBroker:
    @pytest.mark.parametrize(
        ("words", "environ", "count"),
        [
            (["gunicorn", "site.wsgi", "-w", "3"], {}, 3),
            (["/usr/bin/gunicorn", "--workers=2"], {}, 2),
            (["gunicorn", "--workers", "many"], {}, 1),
            (["manage.py", "check", "-w", "3"], {}, 1),
            (["manage.py"], {"WEB_CONCURRENCY": "4"}, 4),
            (["gunicorn"], {"GUNICORN_CMD_ARGS": "--bind :80 --workers=5"}, 5),
        ],
    )
    def test_several_workers_need_one(self, monkeypatch, words, environ, count):
        monkeypatch.setattr("sys.argv", words)
        for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        assert checks.workers() == count
        with override_settings(DWEBSOCKET={}):
            assert len(checks.check_broker()) == (count > 1)
        with override_settings(DWEBSOCKET={"BROKER": "redis://localhost"}):
            assert checks.check_broker() == []
