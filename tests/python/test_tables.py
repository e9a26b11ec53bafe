"""The database of a test, which ``conftest.py`` makes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Group


@pytest.fixture(scope="module")
def thread() -> Iterator[ThreadPoolExecutor]:
    """Return a thread that outlives a test, as asgiref's do."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("name", ["first", "second"])
def test_a_thread_of_an_earlier_test_finds_this_one_s_rows(
    name: str, thread: ThreadPoolExecutor
) -> None:
    Group.objects.create(name=name)
    names = thread.submit(lambda: list(Group.objects.values_list("name", flat=True)))
    assert names.result() == [name]
