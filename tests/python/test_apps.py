from __future__ import annotations

from django.apps import apps
from django.test import override_settings


def test_the_app_may_be_listed():
    with override_settings(INSTALLED_APPS=["dwebsocket"]):
        config = apps.get_app_config("dwebsocket")
    assert type(config).__name__ == "DwebsocketConfig"
    assert list(config.get_models()) == []
