"""Notifications: to open pages at once, to the others later, until they are taken."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from itertools import islice
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import OperationalError, transaction
from django.http import HttpResponse
from django.template import engines
from django.test import AsyncClient, RequestFactory, override_settings
from django.urls import NoReverseMatch, path
from django.utils import timezone
from websockets.exceptions import ConnectionClosed

from dwebsocket import websocket
from dwebsocket.contrib.push import anotify, checks, notify, sending, urls, views
from dwebsocket.contrib.push.sending import group_of
from dwebsocket.contrib.push.session import PushSession
from dwebsocket.logins import rights
from tests.python.test_push import entered, with_tenants

from .conftest import run, visiting

pytestmark = pytest.mark.usefixtures("tables")


@pytest.fixture
def notifications():
    return apps.get_model("dwebsocket_push", "Notification").objects


@pytest.fixture
def ana(make_user):
    return make_user("ana")


@pytest.fixture
def visit(site):
    return visiting(site({"push": views.socket}), "push")


def hello(page):
    """Return the payloads that had waited."""
    page.data(push="hello")
    found, more = [], True
    while more:
        data = page.hear("data")["data"]
        found += [each["payload"] for each in data["notifications"]]
        more = data["more"]
    return found


def test_every_open_page_gets_it_at_once(visit, ana, make_user):
    with visit(ana) as one, visit(ana) as two, visit(make_user("li")) as other:
        assert [hello(page) for page in (one, two, other)] == [[], [], []]
        sent = notify(ana, {"text": "hi"})
        for page in (one, two):
            frame = page.hear("message")["data"]["notification"]
            assert (frame["id"], frame["payload"]) == (sent.pk, {"text": "hi"})
        other.say(type="ping")
        assert other.next() == {"type": "pong"}


def test_what_comes_before_the_welcome_waits(visit, ana, monkeypatch):
    """A page takes no message before that, and would blame the view."""
    begin = PushSession._begin_watch

    def notified(session):
        begin(session)
        notify(ana, "early")

    monkeypatch.setattr(PushSession, "_begin_watch", notified)
    with visit(ana) as page:
        assert page.welcome["type"] == "welcome"
        assert hello(page) == ["early"]


def test_it_is_kept_until_a_page_has_taken_it(visit, ana, notifications):
    sent = [notify(ana.pk, number) for number in range(5)]
    for _ in range(2):
        with visit(ana) as page:
            assert hello(page) == [0, 1, 2, 3, 4]
    with visit(ana) as page, visit(ana) as another:
        page.data(push="taken", ids=[sent[0].pk, sent[3].pk])
        assert another.hear("message")["data"] == {"taken": [sent[0].pk, sent[3].pk]}
        assert hello(page) == [1, 2, 4]
    assert notifications.count() == 3


def test_keys_that_javascript_would_round_are_texts(visit, ana, notifications):
    """Keys of CockroachDB, for one, have more than 53 bits."""
    small, large = 2**53 - 1, 2**62 + 1
    with visit(ana) as page, visit(ana) as another:
        for key in (small, large):
            notifications.create(pk=key, user=ana, payload="hi")
        page.data(push="hello")
        found = page.hear("data")["data"]["notifications"]
        assert [each["id"] for each in found] == [small, str(large)]
        page.data(push="taken", ids=[small, str(large)])
        assert another.hear("message")["data"] == {"taken": [small, str(large)]}
    assert notifications.count() == 0


def test_what_is_taken_twice_is_told_once(visit, ana):
    sent = notify(ana, "hi")
    with visit(ana) as page, visit(ana) as another:
        for _ in range(3):
            page.data(push="taken", ids=[sent.pk])
        page.say(type="ping")
        page.hear("pong")
        assert another.hear("message")["data"] == {"taken": [sent.pk]}
        another.say(type="ping")
        assert another.next() == {"type": "pong"}


@pytest.mark.parametrize(
    "taken",
    [
        lambda user: Session.objects.all().delete(),
        lambda user: user.__class__.objects.update(is_active=False),
    ],
)
def test_a_page_gets_nothing_after_its_user_has_gone(visit, ana, monkeypatch, taken):
    monkeypatch.setattr(PushSession, "recheck", 0.2)
    with visit(ana) as page:
        assert hello(page) == []
        taken(ana)
        with pytest.raises(ConnectionClosed) as caught:
            page.next()
        assert caught.value.rcvd.code == 4001
        notify(ana, "secret")


def test_nobody_takes_what_is_another_s(visit, ana, make_user, notifications):
    sent = notify(ana, "for Ana")
    with visit(make_user("li")) as page:
        assert hello(page) == []
        page.data(push="taken", ids=[sent.pk])
        assert hello(page) == []
    assert notifications.get() == sent


@override_settings(DWEBSOCKET={"PUSH": {"BATCH": 2}})
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_what_has_waited_comes_in_batches_and_in_order(visit, ana, count):
    for number in range(count):
        notify(ana, number)
    with visit(ana) as page:
        assert hello(page) == list(range(count))


@override_settings(DWEBSOCKET={"PUSH": {"BATCH": 1}})
@pytest.mark.parametrize("read", [0, 1], ids=["none", "some"])
def test_a_page_that_cannot_get_what_waits_is_to_come_again(
    visit, ana, monkeypatch, read
):
    batches = PushSession._batches

    def failing(session):
        yield from islice(batches(session), read)
        raise OperationalError("too many connections")

    for number in range(2):
        notify(ana, number)
    with monkeypatch.context() as patch, visit(ana) as page:
        patch.setattr(PushSession, "_batches", failing)
        with pytest.raises(ConnectionClosed) as caught:
            hello(page)
        assert caught.value.rcvd.code == 1013
    with visit(ana) as page:
        assert hello(page) == [0, 1]


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"push": "dance"},
        {"push": "taken"},
        {"push": "taken", "ids": ["1"]},
        {"push": "taken", "ids": [str(2**53 - 1)]},
        {"push": "taken", "ids": [2**53]},
        {"push": "taken", "ids": [str(2**63)]},
        {"push": "taken", "ids": [True]},
        {"push": "taken", "ids": [1 << 63]},
        {"push": "taken", "ids": [1] * 1001},
    ],
    ids=str,
)
def test_a_wish_that_makes_no_sense_is_answered(visit, ana, data):
    with visit(ana) as page:
        page.say(type="data", data=data)
        assert page.hear("error")["code"] == "invalid"
        page.say(type="join", id=1, group=f"dwebsocket.push:{ana.pk}")
        assert page.hear("error")["code"] == "forbidden"


def test_who_is_not_logged_in_does_not_get_in(site):
    running = site({"push": views.socket})
    response, body = running.request("push")
    assert (response.status, body) == (403, b"Please log in.\n")


def test_the_address_is_for_websockets(rf, ana):
    request = rf.get("/")
    request.user = ana
    assert views.socket(request).status_code == 426
    assert urls.urlpatterns[0].callback is views.socket


@pytest.mark.parametrize("commits", [True, False])
def test_on_commit_waits_for_the_transaction(visit, ana, notifications, commits):
    class Rollback(Exception):
        pass

    with visit(ana) as page:
        assert hello(page) == []
        try:
            with transaction.atomic():
                notify(ana, "committed", on_commit=True)
                page.say(type="ping")
                assert page.next() == {"type": "pong"}
                if not commits:
                    raise Rollback
        except Rollback:
            pass
        notify(ana, "afterwards")
        for text in ["committed"] * commits + ["afterwards"]:
            assert page.hear("message")["data"]["notification"]["payload"] == text
    assert notifications.count() == commits + 1


def test_on_commit_sends_what_it_was_at_the_call(visit, ana, make_user):
    li = make_user("li")
    with visit(ana) as one, visit(li) as other:
        assert [hello(page) for page in (one, other)] == [[], []]
        with transaction.atomic():
            data = {}
            for user in (ana, li):
                data["text"] = f"only for {user}"
                notify(user, data, on_commit=True)
            data["text"] = object()
        for page, user in ((one, ana), (other, li)):
            payload = page.hear("message")["data"]["notification"]["payload"]
            assert payload == {"text": f"only for {user}"}


def test_the_async_twin_does_the_same(visit, ana):
    with visit(ana) as page:
        assert hello(page) == []
        run(anotify(ana, "from a coroutine"))
        frame = page.hear("message")["data"]["notification"]
        assert frame["payload"] == "from a coroutine"


def test_who_is_nobody_gets_nothing(ana, notifications):
    with pytest.raises(ValueError, match="primary key"):
        notify(AnonymousUser(), "x")
    with pytest.raises(ValueError, match=r"primary key .* user\.pk"):
        notify(ana.get_username(), "x")
    with pytest.raises(TypeError):
        notify(ana, object())
    with pytest.raises(ValueError, match="JSON"):
        notify(ana, float("nan"))
    assert not notifications.exists()


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        (60, 60),
        (timedelta(minutes=2), 120),
        (lambda: timezone.now() + timedelta(seconds=180), 180),
        (None, None),
        ("setting", 30 * 86_400),
    ],
    ids=["seconds", "time", "date", "never", "setting"],
)
def test_when_it_expires(ana, expires, seconds):
    if callable(expires):
        expires = expires()
    sent = notify(ana, 1, **({} if expires == "setting" else {"expires": expires}))
    if seconds is None:
        assert sent.expires is None
    else:
        assert abs((sent.expires - sent.created).total_seconds() - seconds) < 60


def test_what_has_expired_is_not_delivered_and_can_be_pruned(visit, ana, notifications):
    notify(ana, "expired", expires=-1)
    notify(ana, "fresh")
    old = notify(ana, "old", expires=None)
    notifications.filter(pk=old.pk).update(created=timezone.now() - timedelta(days=9))
    with visit(ana) as page:
        assert hello(page) == ["fresh", "old"]
    assert prune("--dry-run") == "1 to delete"
    assert prune("--batch=1") == "1 deleted"
    assert prune() == "0 deleted"
    assert prune("--older-than=8") == "1 deleted"
    assert [each.payload for each in notifications.all()] == ["fresh"]


@override_settings(DWEBSOCKET={"PUSH": {"LIMIT": 3}})
def test_a_user_s_notifications_have_a_limit(ana, make_user, notifications, caplog):
    notify(make_user("li"), "of Li's")
    for number in range(5):
        notify(ana, number)
    kept = notifications.filter(user=ana).order_by("pk")
    assert [each.payload for each in kept] == [2, 3, 4]
    assert notifications.count() == 4
    assert "Dropped 1" in caplog.text


def prune(*arguments):
    output = StringIO()
    call_command("prunenotifications", *arguments, stdout=output)
    return output.getvalue().strip()


def test_the_tag_connects_who_is_logged_in(ana):
    template = engines["django"].from_string(
        "{% load dwebsocket_push %}{% push_notifications %}"
    )
    request = RequestFactory().get("/")
    # A page of errors, perhaps; or a mistake, which the page's source tells.
    html = template.render({}).strip()
    assert html.startswith("<!-- push_notifications")
    assert html.endswith("-->")
    assert template.render({}, request).strip() == ""
    request.user = AnonymousUser()
    assert template.render({}, request).strip() == ""
    request.user = ana
    with override_settings(ROOT_URLCONF="tests.python.contrib.urls"):
        html = template.render({}, request)
    assert '<dwebsocket-push url="/push/" hidden>' in html
    assert 'src="/static/dwebsocket/push/push.js"' in html
    with (
        override_settings(ROOT_URLCONF="tests.urls"),
        pytest.raises(NoReverseMatch, match=r"include\('dwebsocket.contrib.push.urls'"),
    ):
        template.render({}, request)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"TLT": 5}, "Did you mean 'TTL'?"),
        ({"TTL": 0}, "None or a number of seconds greater than 0"),
        ({"BATCH": 0}, "a whole number of at least 1"),
    ],
)
def test_the_settings_are_checked(section, message):
    assert checks.check_push() == []
    with override_settings(DWEBSOCKET={"PUSH": section}):
        found = checks.check_push()
    assert [each.id for each in found] == ["dwebsocket.E011"]
    assert message in found[0].msg


def test_users_must_be_known():
    with override_settings(MIDDLEWARE=[]):
        assert [each.id for each in checks.check_push()] == ["dwebsocket.E012"]


def test_none_of_the_findings_hides_another():
    with override_settings(
        DWEBSOCKET={"PUSH": {"NO": 1}, "OUTBOX_BYTES": 0},
        MIDDLEWARE=[],
        INSTALLED_APPS=["dwebsocket.contrib.push"],
    ):
        found = [each.id for each in checks.check_push()]
    assert found == [
        "dwebsocket.E011",
        "dwebsocket.E012",
        "dwebsocket.E012",
        "dwebsocket.E019",
    ]


def test_the_migrations_are_complete():
    call_command("makemigrations", "dwebsocket_push", check=True, dry_run=True)


def test_a_project_with_an_admin_has_it():
    """Its checks pass, and its admin has pages to look at and to delete."""
    done = subprocess.run(
        [sys.executable, "-c", _PROJECT],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.python.contrib.project"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


_PROJECT = """
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from dwebsocket.contrib.push import notify

call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
boss = get_user_model().objects.create_superuser("boss")
sent = notify(boss, {"text": "hello"})
client = Client()
client.force_login(boss)
root = "/admin/dwebsocket_push/notification/"
page = client.get(root).content.decode()
assert "boss" in page and "Add notification" not in page
assert "hello" in client.get(f"{root}{sent.pk}/change/").content.decode()
assert client.post(f"{root}{sent.pk}/delete/", {"post": "yes"}).status_code == 302
assert not type(sent).objects.exists()
"""


def test_a_key_that_is_a_star_stands_for_nobody_else(site, ana):
    def socket(request):
        # Of a model whose primary key is a name that its owner has chosen.
        request.user = SimpleNamespace(pk="*", is_authenticated=True)
        return views.socket(request)

    with visiting(site({"push": socket}), "push")() as page:
        page.say(type="ping")
        page.hear("pong")
        notify(ana, "private")
        page.say(type="ping")
        assert page.next() == {"type": "pong"}


def test_a_page_tells_the_others_nothing_of_its_own(visit, ana):
    with visit(ana) as one, visit(ana) as two:
        assert [hello(page) for page in (one, two)] == [[], []]
        forged = {"notification": {"id": 9, "payload": "forged", "created": ""}}
        (group,) = group_of(ana.pk).names
        one.say(type="publish", id=1, group=group, data=forged)
        assert one.hear("error")["code"] == "forbidden"
        two.say(type="ping")
        assert two.next() == {"type": "pong"}


class Replicas:
    """A router of a site whose replica is late."""

    def db_for_read(self, model, **hints):
        return "replica"


def test_what_waits_is_read_where_it_is_written(settings):
    settings.DATABASE_ROUTERS = [Replicas()]
    visitor = RequestFactory().get("/")
    visitor.user = SimpleNamespace(pk=1, is_authenticated=True)
    assert PushSession(SimpleNamespace(), visitor)._mine().db == "default"


def test_what_is_pruned_is_read_where_it_is_written(ana, settings):
    notify(ana, "expired", expires=-1)
    settings.DATABASE_ROUTERS = [Replicas()]
    assert prune("--dry-run") == "1 to delete"
    assert prune() == "1 deleted"


def test_the_pages_of_another_tenant_hear_nothing(monkeypatch):
    names = ["acme"]
    monkeypatch.setattr(rights, "tenant", lambda: names[-1], raising=False)
    with override_settings(DWEBSOCKET={"TENANT": "dwebsocket.logins.rights.tenant"}):
        acme = group_of(7).names
        names.append("bolt")
        assert group_of(7).names != acme
        names.append("acme")
        assert group_of(7).names == acme


def test_what_waits_for_the_commit_goes_to_the_tenant_of_the_call(ana, monkeypatch):
    names = ["acme"]
    monkeypatch.setattr(rights, "tenant", lambda: names[-1], raising=False)
    told = []
    monkeypatch.setattr(sending, "publish_to", lambda group, *_: told.append(group))
    with override_settings(DWEBSOCKET={"TENANT": "dwebsocket.logins.rights.tenant"}):
        expected = group_of(ana.pk).names
        with transaction.atomic():
            notify(ana, "x", on_commit=True)
            names.append("bolt")
    assert [group.names for group in told] == [expected]


@pytest.mark.parametrize("function", ["of_connection", "of_variable"])
def test_the_async_twin_tells_the_tenant_of_its_view(site, monkeypatch, function):
    # The group of the pages, in place of the notification.
    named = lambda user, *rest, **options: group_of(user).names[0]  # noqa: E731
    monkeypatch.setattr(sending, "notify", named)

    async def plain(request):
        return HttpResponse(await anotify(7, "x"))

    async def view(request):
        await request.websocket.send(await anotify(7, "x"))

    settings = with_tenants(function)
    urlconf = type("Urls", (), {"urlpatterns": [path("", plain)]})
    with override_settings(ROOT_URLCONF=urlconf, **settings):
        with entered("acme"):
            [expected] = group_of(7).names
        assert group_of(7).names != (expected,)
        response = asyncio.run(AsyncClient().get("/?tenant=acme"))
        assert response.content.decode() == expected
    with site({"": websocket(view)}, **settings).connect("?tenant=acme") as page:
        assert page.recv(10) == expected
