"""The URLs of this folder's views, and a check that nothing stays behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client, override_settings

from . import views


@pytest.fixture(autouse=True)
def urls() -> Iterator[None]:
    views.go_on.clear()
    views.done.clear()
    with override_settings(ROOT_URLCONF=views.__name__):
        yield
    views.go_on.set()


@pytest.fixture
def client() -> Client:
    return Client()
