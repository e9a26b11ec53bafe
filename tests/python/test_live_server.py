"""What the text for Django's test client recommends."""

from __future__ import annotations

import gc
import warnings

import pytest
from django.contrib.auth.models import User
from django.test import LiveServerTestCase, override_settings
from django.urls import path
from websockets.sync.client import connect

from dwebsocket import runners, websocket


@websocket
def greet(request):
    for name in request.websocket:
        request.websocket.send(str(User.objects.get(username=name).pk))


urlpatterns = [path("greet", greet)]


@override_settings(ROOT_URLCONF=__name__, STATIC_URL="static/")
class LiveServerTests(LiveServerTestCase):
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_view_sees_what_the_test_has_saved(self):
        user = User.objects.create(username="somebody")
        address = self.live_server_url.replace("http:", "ws:")
        with connect(f"{address}/greet", open_timeout=10) as connection:
            connection.send("somebody")
            assert connection.recv(timeout=10) == str(user.pk)
        assert runners.join(10)
        # Django does not close databases in memory, and sqlite3 warns from 3.13 on.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
