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


@websocket
def save(request):
    for name in request.websocket:
        user = User.objects.create(username=name)
        request.websocket.send(str(user.pk))


urlpatterns = [path("greet", greet), path("save", save)]


@override_settings(ROOT_URLCONF=__name__, STATIC_URL="static/")
class LiveServerTests(LiveServerTestCase):
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_views_write_while_the_test_reads(self):
        User.objects.bulk_create(User(username=f"user{n}") for n in range(300))
        address = self.live_server_url.replace("http:", "ws:")
        with (
            connect(f"{address}/save", open_timeout=10) as first,
            connect(f"{address}/save", open_timeout=10) as second,
        ):
            for number in range(20):
                # A cursor that is not at its end holds the lock of the table.
                reading = User.objects.all().iterator(chunk_size=10)
                next(reading)
                first.send(f"first{number}")
                assert first.recv(timeout=10).isdigit()
                second.send(f"second{number}")
                assert second.recv(timeout=10).isdigit()
                reading.close()
        assert runners.join(10)
        assert User.objects.count() == 340

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
