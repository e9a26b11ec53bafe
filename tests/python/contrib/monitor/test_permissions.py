"""Who may see the page, and who may close connections."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.management import call_command
from django.test import RequestFactory

from dwebsocket.contrib.monitor.permissions import fresh, may_close, may_see

from .conftest import user


def _request(member):
    request = RequestFactory().get("/")
    request.user = member
    return request


def test_staff_see_and_the_permission_closes(ana, eve) -> None:
    request = _request(ana)
    assert may_see(request)
    assert may_close(request)
    request = _request(eve)
    assert may_see(request)
    assert not may_close(request)


def test_others_may_nothing() -> None:
    # The permission alone is not enough: such a user does not see the page.
    for member in (AnonymousUser(), user("li", "close_connection")):
        request = _request(member)
        assert not may_see(request)
        assert not may_close(request)
    gone = user("jo", "close_connection", is_staff=True, is_active=False)
    assert not may_close(_request(gone))


def test_superusers_may_all() -> None:
    assert may_close(_request(User.objects.create_superuser("root")))


def test_the_user_is_read_again(ana) -> None:
    request = _request(ana)
    assert may_close(request)  # Django keeps the permissions in the user from now on
    ana.verified = "by a middleware"
    ana.user_permissions.clear()
    again = fresh(request)
    assert again is not None
    assert not may_close(again)
    assert again.user.verified == "by a middleware"
    assert request.user is ana
    User.objects.all().delete()
    assert fresh(request) is None


def test_a_user_that_is_no_model_stays_as_it_is() -> None:
    request = _request(AnonymousUser())
    assert fresh(request) is request


def test_there_is_one_permission_and_no_table() -> None:
    found = Permission.objects.filter(content_type__app_label="dwebsocket_monitor")
    assert [one.codename for one in found] == ["close_connection"]
    call_command("makemigrations", "dwebsocket_monitor", check=True, dry_run=True)
