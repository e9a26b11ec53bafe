from __future__ import annotations

import threading
import zoneinfo
from contextvars import ContextVar

import pytest
from django.test import override_settings
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils import timezone, translation

from dwebsocket.context import RequestContext

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def restore():
    yield
    translation.deactivate()
    timezone.deactivate()
    set_urlconf(None)
    set_script_prefix("/")


def in_thread(function):
    """Call a function in another thread, in the context of this one."""
    result = []
    context = RequestContext()
    thread = threading.Thread(
        target=lambda: result.append(context.run(lambda: function()))
    )
    thread.start()
    thread.join()
    return result[0]


def test_context_variables_hold():
    token = variable.set("set")
    assert in_thread(variable.get) == "set"
    variable.reset(token)


@pytest.mark.parametrize("language", ["de", "en-us", "zh-hans"])
def test_the_language_holds(language):
    translation.activate(language)
    assert in_thread(translation.get_language) == language


def test_no_language_holds():
    translation.deactivate_all()
    assert in_thread(translation.get_language) is None


# Django decides once in a process whether it translates; not while a test overrides it.
translation.get_language()


@override_settings(USE_I18N=False)
def test_a_project_without_translations_has_its_language():
    assert in_thread(translation.get_language) == "en-us"


def test_the_time_zone_holds():
    zone = zoneinfo.ZoneInfo("Asia/Shanghai")
    timezone.activate(zone)
    assert in_thread(timezone.get_current_timezone) is zone
    timezone.deactivate()
    assert in_thread(timezone.get_current_timezone) is timezone.get_default_timezone()


def test_urlconf_and_script_prefix_hold():
    assert in_thread(get_urlconf) is None
    assert in_thread(get_script_prefix) == "/"
    set_urlconf("other.urls")
    set_script_prefix("/prefix/")
    assert in_thread(get_urlconf) == "other.urls"
    assert in_thread(get_script_prefix) == "/prefix/"


def test_what_the_thread_does_stays_there():
    translation.activate("de")
    in_thread(lambda: translation.activate("fr"))
    assert translation.get_language() == "de"
