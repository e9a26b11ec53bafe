from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

import dwebsocket

OLD_PATHS = [
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


def test_what_is_exported_is_there():
    assert sorted(dwebsocket.__all__) == list(dwebsocket.__all__)
    assert all(hasattr(dwebsocket, name) for name in dwebsocket.__all__)


@pytest.mark.parametrize(("module", "name"), OLD_PATHS)
def test_old_import_paths_stay(module, name):
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("module", sorted({module for module, _ in OLD_PATHS}))
def test_imports_work_before_settings_exist(module):
    script = (
        f"import {module}\n"
        "from django.conf import settings\n"
        "assert not settings.configured\n"
        "from dwebsocket import accept_websocket\n"
        "@accept_websocket(max_message_size=100)\n"
        "def view(request): pass\n"
        "assert not settings.configured\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30, env=env)


def test_the_version_is_the_engines():
    assert dwebsocket.__version__ == dwebsocket._engine.__version__
