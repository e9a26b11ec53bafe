"""Point 9: the import paths of old code, and settings that name them."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from .harness import PYTHON, ROOT
from .specs import CONTRACT

PATHS = [
    ("dwebsocket", "accept_websocket"),
    ("dwebsocket", "require_websocket"),
    ("dwebsocket.decorators", "accept_websocket"),
    ("dwebsocket.decorators", "require_websocket"),
    ("dwebsocket.middleware", "WebSocketMiddleware"),
    ("dwebsocket.websocket", "WebSocket"),
    ("dwebsocket.factory", "WebSocketFactory"),
    ("dwebsocket.backends.default.factory", "WebSocketFactory"),
    ("dwebsocket.backends.default.websocket", "DefaultWebSocket"),
    ("dwebsocket.backends.uwsgi.factory", "uWsgiWebSocketFactory"),
]
CLASSES = [(module, name) for module, name in PATHS if name[0] == "W" or "W" in name]


def _python(code: str, **env: str) -> str:
    """Run a program in a fresh interpreter without Django settings."""
    clean = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [PYTHON, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_path_imports_before_settings_exist():
    lines = [f"from {module} import {name}; print({name!r})" for module, name in PATHS]
    assert _python("\n".join(lines)).split() == [name for _, name in PATHS]


@pytest.mark.parametrize(("module", "name"), PATHS)
def test_each_path_imports_as_the_first(module: str, name: str):
    _python(f"from {module} import {name}\nassert callable({name})")


def test_the_classes_are_real_classes():
    _python(
        "\n".join(
            f"from {module} import {name} as C{number}\n"
            f"assert isinstance(C{number}, type)\n"
            f"C{number}.extra = 1\n"
            f"class Sub{number}(C{number}): pass"
            for number, (module, name) in enumerate(CLASSES)
        )
        + "\nfrom dwebsocket.websocket import WebSocket"
        + "\nfrom dwebsocket.backends.default.websocket import DefaultWebSocket"
        + "\nassert issubclass(DefaultWebSocket, WebSocket)"
    )


def test_websocket_is_the_decorator_whatever_is_imported_first():
    for first in ("import dwebsocket.websocket", "from dwebsocket import websocket"):
        _python(
            f"{first}\nimport dwebsocket.websocket\n"
            "from dwebsocket import websocket\nassert callable(websocket)\n"
            "from dwebsocket.websocket import WebSocket\n"
        )


def test_decorating_needs_no_settings():
    _python(
        "from dwebsocket import accept_websocket, require_websocket, websocket\n"
        "for decorator in (accept_websocket, require_websocket, websocket):\n"
        "    @decorator\n"
        "    def view(request): pass\n"
        "    assert view.__name__ == 'view'\n"
        "    @decorator()\n"
        "    def view(request): pass\n"
    )


FACTORIES = {
    "dwebsocket.factory.WebSocketFactory": "WebSocket",
    "dwebsocket.backends.default.factory.WebSocketFactory": "DefaultWebSocket",
    "dwebsocket.backends.uwsgi.factory.uWsgiWebSocketFactory": "",
    "tests.servers.site.factories.CountingFactory": "CountingWebSocket",
}


@pytest.mark.parametrize("spec", CONTRACT)
@pytest.mark.parametrize("path", FACTORIES)
def test_the_setting_may_name_any_factory(variant: Any, spec: str, path: str):
    server = variant(spec, settings={"WEBSOCKET_FACTORY_CLASS": path})
    client = server.open("/class-name")
    assert FACTORIES[path] in str(client.receive())
    client.send("x")
    assert client.receive() == "x"
    client.close()
