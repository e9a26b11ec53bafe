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

_CLASSIC = ("accept_websocket", "require_websocket")
_EXCEPTIONS = (
    "ConfigurationError",
    "HandshakeError",
    "PeerGone",
    "ReceiveTimeout",
    "SocketUnavailable",
    "WebSocketClosed",
    "WebSocketEOF",
    "WebSocketException",
)

#: What docs/api.md and the pages that it leads to name, by module; and whether the
#: module needs apps, and so settings.
PUBLIC: dict[str, tuple[str, ...]] = {
    "dwebsocket": (
        *(*_CLASSIC, *_EXCEPTIONS, "hub", "push", "signals", "websocket"),
        *("ClassicWebSocketRequest", "ViewOptions", "WebSocketRequest"),
        *("asgi", "channels", "middleware", "monitor", "session", "testing"),
    ),
    "dwebsocket.asgi": ("application", "as_view"),
    "dwebsocket.backends.default.factory": ("WebSocketFactory",),
    "dwebsocket.backends.default.websocket": ("DefaultWebSocket",),
    "dwebsocket.backends.uwsgi.factory": ("uWsgiWebSocketFactory",),
    "dwebsocket.conf": ("DEFAULTS", "settings"),
    "dwebsocket.context": ("carry",),
    "dwebsocket.decorators": (*_CLASSIC, "websocket"),
    "dwebsocket.exceptions": _EXCEPTIONS,
    "dwebsocket.factory": ("WebSocketFactory",),
    "dwebsocket.hub": (
        *("group", "groups", "occupied", "options", "stats"),
        *("connect", "disconnect", "ids", "payload", "to_json"),
        *("BrokerError", "Group", "History", "Joined", "Member", "Options"),
        *("Position", "Published", "Stats"),
    ),
    "dwebsocket.middleware": ("WebSocketMiddleware",),
    "dwebsocket.push": (
        *("to_group", "to_user", "to_all", "disconnect"),
        *("ato_group", "ato_user", "ato_all", "adisconnect"),
    ),
    "dwebsocket.servers": (
        *("ClientGone", "ServerSocket", "SocketBusy", "from_socket", "register"),
    ),
    "dwebsocket.session": ("Refused", "Session"),
    "dwebsocket.signals": (
        *("websocket_opened", "websocket_message", "websocket_closed"),
        *("websocket_rejected", "group_joined", "group_left"),
    ),
    "dwebsocket.websocket": ("WebSocket",),
}
PUBLIC_OF_APPS: dict[str, tuple[str, ...]] = {
    "dwebsocket.contrib.chat": (
        *("Guests", "Permissions", "clean_room", "history", "people", "say"),
    ),
    "dwebsocket.contrib.chat.urls": ("urlpatterns",),
    "dwebsocket.contrib.monitor.urls": ("urlpatterns",),
    "dwebsocket.contrib.push": ("anotify", "notify"),
    "dwebsocket.contrib.push.models": ("Notification",),
    "dwebsocket.contrib.push.urls": ("urlpatterns",),
}


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


def fresh(script: str) -> None:
    """Run a script in an interpreter that has not imported the package."""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=True, timeout=30
    )


def in_both_ways(module: str, names: tuple[str, ...], before: str = "") -> None:
    """Import names from a module, and reach for them through it, in new processes."""
    fresh(f"{before}from {module} import {', '.join(names)}")
    fresh(f"{before}import {module}\n{module}.{f'; {module}.'.join(names)}")


@pytest.mark.parametrize("module", PUBLIC)
def test_public_paths_stay(module):
    in_both_ways(module, PUBLIC[module])


@pytest.mark.parametrize("module", PUBLIC_OF_APPS)
def test_public_paths_of_apps_stay(module):
    before = (
        "import os, django\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.python.contrib.project'\n"
        "django.setup()\n"
    )
    in_both_ways(module, PUBLIC_OF_APPS[module], before)


def test_every_old_path_is_a_public_one():
    assert all(name in PUBLIC[module] for module, name in OLD_PATHS)


ORDERS = [
    "import dwebsocket.websocket",
    "import dwebsocket.websocket as module",
    "from dwebsocket import websocket",
    "from dwebsocket import *",
    "from dwebsocket.websocket import WebSocket",
    "from dwebsocket.decorators import websocket",
    "import importlib; importlib.import_module('dwebsocket.websocket')",
    "from dwebsocket.backends.default.websocket import DefaultWebSocket",
    "import dwebsocket.websocket, importlib; importlib.reload(dwebsocket.websocket)",
    "import dwebsocket, importlib; importlib.reload(dwebsocket)",
]


@pytest.mark.parametrize("first", ORDERS)
@pytest.mark.parametrize("second", ORDERS[:4])
def test_websocket_is_the_decorator_and_the_module(first, second):
    fresh(
        f"{first}\n{second}\n"
        "import importlib, dwebsocket.websocket, dwebsocket.websocket as w\n"
        "from dwebsocket import websocket\n"
        "from dwebsocket.websocket import WebSocket\n"
        "assert w is websocket is importlib.import_module('dwebsocket.websocket')\n"
        "assert dwebsocket.websocket.WebSocket is WebSocket\n"
        "dwebsocket.websocket.WebSocket.send_data = len\n"
        "assert WebSocket.send_data is len\n"
        "for decorate in (websocket, websocket(max_message_size=9)):\n"
        "    @decorate\n"
        "    def view(request): 'what it does'\n"
        "    assert (view.__name__, view.__doc__) == ('view', 'what it does')\n"
        "    assert view.opens_websocket\n"
    )


def test_the_module_can_be_patched(monkeypatch):
    from unittest import mock

    from dwebsocket.websocket import WebSocket

    with mock.patch("dwebsocket.websocket.WebSocket.send_data", len, create=True):
        assert WebSocket.send_data is len
    with mock.patch("dwebsocket.websocket.WebSocket", str):
        assert dwebsocket.websocket.WebSocket is str
    assert dwebsocket.websocket.WebSocket is WebSocket


def test_the_decorator_can_be_pickled_copied_and_asked_for_help():
    import copy
    import inspect
    import pickle
    import pydoc

    decorator = dwebsocket.websocket
    assert pickle.loads(pickle.dumps(decorator)) is decorator
    assert copy.deepcopy(decorator) is decorator
    assert "subprotocols" in inspect.signature(decorator).parameters
    assert "decorator" in pydoc.render_doc(decorator)


def test_no_name_hides_a_module_of_the_package():
    # In a process of its own, as gevent's half must not be imported in this one.
    fresh(
        "import importlib, pkgutil, sys, dwebsocket\n"
        "walk = pkgutil.walk_packages(dwebsocket.__path__, 'dwebsocket.')\n"
        "names = [found.name for found in walk if '.contrib.' not in found.name]\n"
        "assert 'dwebsocket.websocket' in names\n"
        "for name in names:\n"
        "    module = importlib.import_module(name)\n"
        "    parent, _, short = name.rpartition('.')\n"
        "    assert getattr(sys.modules[parent], short) is module, name\n"
    )
