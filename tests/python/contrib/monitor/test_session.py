"""What an open page is told, and what it may do."""

from __future__ import annotations

import logging

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.test import override_settings

from dwebsocket import monitor, testing
from dwebsocket.contrib.monitor import session

from .conftest import LIVE, PATIENCE, client_of, user


def test_it_shows_processes_connections_groups_and_figures(opened, visit, ana) -> None:
    li = user("li")
    with visit("tea", li) as ws, opened(ana) as page:
        for text in ("a", "b"):
            ws.send(text)
            assert ws.receive() == text
        page.view()
        (row,) = page.rows()
        assert (row["user"], row["name"]) == (str(li.pk), "li")
        assert row["path"] == "/room/tea"
        assert row["address"] == "127.0.0.1"
        assert (row["received_messages"], row["sent_messages"]) == (2, 3)
        assert row["some_groups"] == ["tea"]
        (process,) = page.rows("processes")
        assert (process["connections"], process["state"]) == (1, "ok")
        assert row["pid"] == process["pid"]
        assert page.rows("groups") == [{"key": "tea", "members": 1, "processes": 1}]
        assert page.site["connections"] == 1
        assert page.site["broker"] == "none"


def test_rates_come_with_the_second_reading(opened, visit, ana) -> None:
    with visit("tea") as ws, opened(ana) as page:
        page.view()
        assert page.rows()[0]["received"] is None
        ws.send("a")
        page.until(lambda: page.rows()[0]["received"])
        page.until(lambda: page.rows()[0]["received"] == 0)


def test_open_pages_are_not_listed(opened, visit, ana, eve) -> None:
    with visit("tea"), opened(ana) as page, opened(eve) as other:
        other.view()
        page.view()
        page.until(lambda: page.site["watchers"] == 2)
        assert page.paths() == ["/room/tea"]
        assert page.site["connections"] == 1
        assert page.rows("processes")[0]["connections"] == 1


def test_open_pages_are_no_load(opened, visit, ana) -> None:
    def counted() -> tuple[int, ...]:
        found = monitor.site().counters
        sent, received = found.sent_messages, found.received_messages
        return sent, found.sent_bytes, received, found.received_bytes

    with visit("tea") as ws, opened(ana) as page:
        before = counted()
        for _ in range(5):
            page.view()
        assert counted() == before
        ws.send("x")
        assert ws.receive() == "x"
        after = counted()
        page.view()
        assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1, 1]
        assert counted() == after


def test_only_changes_are_sent(opened, visit, ana) -> None:
    with visit("one") as one, visit("two"), opened(ana) as page:
        page.view()
        page.until(lambda: all(row["sent"] == 0 for row in page.rows()))
        page.until(lambda: page.site["sent"] == 0)
        # Nothing changes, so nothing comes.
        page.ws.receive_nothing(0.3)
        one.send("x")
        frame = page.hear()
        (row,) = frame["connections"]["rows"]
        assert row["path"] == "/room/one"
        assert "order" not in frame["connections"]
        # A process is told of only if it was looked at while the message, or the
        # answer, waited in it.
        processes = frame.get("processes", {"rows": []})["rows"]
        assert all(row["inbox_messages"] or row["outbox_messages"] for row in processes)
        assert "groups" not in frame


def test_rows_go_with_their_connections(opened, visit, ana) -> None:
    with opened(ana) as page:
        with visit("one"):
            page.view()
            assert page.paths() == ["/room/one"]
        page.until(lambda: not page.rows())
        page.until(lambda: not page.rows("groups"))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"search": "ROOM/ONE"}, ["/room/one"]),
        ({"search": "127.0.0.1"}, ["/room/one", "/room/two"]),
        ({"search": "LI"}, ["/room/one"]),
        ({"search": "two"}, ["/room/two"]),
        ({"search": "nobody knows"}, []),
        ({"group": "two"}, ["/room/two"]),
        ({"group": "tw"}, []),
    ],
)
def test_the_search(opened, visit, ana, wanted, found) -> None:
    with visit("one", user("Lia")), visit("two"), opened(ana) as page:
        page.view(**wanted)
        assert sorted(page.paths()) == found
        page.view()
        assert len(page.paths()) == 2


def test_the_connections_of_one_user(opened, visit, ana) -> None:
    li, jo = user("li"), user("jo")
    with visit("a", li), visit("b", li), visit("c", jo), opened(ana) as page:
        page.view(user=str(li.pk))
        assert sorted(page.paths()) == ["/room/a", "/room/b"]


def test_pages_of_rows(opened, visit, ana, monkeypatch) -> None:
    from dwebsocket.contrib.monitor import board

    monkeypatch.setattr(board, "ROWS", 2)
    with visit("a"), visit("b"), visit("c"), opened(ana) as page:
        page.view()
        first = page.paths()
        assert len(first) == 2
        assert page.next["connections"]
        page.view(after=page.next["connections"])
        assert len(page.paths()) == 1
        assert page.next["connections"] == ""
        assert sorted([*first, *page.paths()]) == ["/room/a", "/room/b", "/room/c"]
        assert page.next["groups"] == "b"
        page.view(groups_after="b")
        assert [row["key"] for row in page.rows("groups")] == ["c"]


def test_names_may_be_as_long_as_the_hub_takes_them(
    opened, visit, ana, monkeypatch
) -> None:
    from dwebsocket.contrib.monitor import board

    monkeypatch.setattr(board, "ROWS", 1)
    long = "g" * 255
    with visit("g" * 254), visit(long), opened(ana) as page:
        page.view(group=long)
        assert page.paths() == [f"/room/{long}"]
        page.view()
        assert page.next["groups"] == "g" * 254
        page.view(groups_after=long)
        assert page.rows("groups") == []


def test_a_hidden_page_costs_nothing(opened, visit, ana) -> None:
    with opened(ana) as page:
        page.view()
        page.say(monitor="hide")
        page.say(monitor="?")
        while page.ws.receive_json(timeout=PATIENCE)["type"] != "error":
            pass
        with visit("tea"):
            page.ws.receive_nothing(0.3)
            page.view()
            assert page.paths() == ["/room/tea"]


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"monitor": 7},
        {"monitor": "view"},
        {"monitor": "view", "number": "1"},
        {"monitor": "view", "number": 1, "search": 7},
        {"monitor": "view", "number": 1, "search": "x" * 201},
        {"monitor": "view", "number": 1, "group": "x" * 256},
        {"monitor": "view", "number": 1, "after": "a"},
        {"monitor": "view", "number": 1, "after": "a:b"},
        {"monitor": "close", "number": 1, "key": []},
    ],
)
def test_nonsense_is_refused_and_the_page_stays(opened, ana, data) -> None:
    with opened(ana) as page:
        page.ws.send_json({"type": "data", "data": data})
        answer = page.ws.receive_json(timeout=PATIENCE)
        assert (answer["type"], answer["code"]) == ("error", "invalid")
        page.view()
        assert page.rows() == []


def test_closing_one_connection(opened, visit, ana, caplog) -> None:
    li = user("li")
    with visit("a", li) as one, visit("b", li) as two, opened(ana) as page:
        page.view()
        answer = page.close("/room/a")
        assert (answer["monitor"], answer["closed"]) == ("closed", 1)
        assert one.wait_closed(PATIENCE) == 4001
        page.until(lambda: page.paths() == ["/room/b"])
        two.send("still there")
        assert two.receive() == "still there"
    (record,) = (one for one in caplog.records if one.name == "dwebsocket.monitor")
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert text.startswith(f"ana (user {ana.pk}) has closed 1 connection (")
    assert f"of user {li.pk}, /room/a, from 127.0.0.1) with the code 4001" in text


def test_closing_all_of_a_user(opened, visit, ana, caplog) -> None:
    li = user("li")
    with visit("a", li) as one, visit("b", li) as two, visit("c") as other:
        with opened(ana) as page:
            page.view()
            answer = page.close("/room/a", all=True, again=True)
            assert answer["closed"] == 2
            assert {one.wait_closed(PATIENCE), two.wait_closed(PATIENCE)} == {1012}
        other.send("still there")
        assert other.receive() == "still there"
    (record,) = (one for one in caplog.records if one.name == "dwebsocket.monitor")
    assert f"has closed all 2 connections of user {li.pk}" in record.getMessage()


def test_all_of_nobody_is_one(opened, visit, ana) -> None:
    with visit("a"), visit("b"), opened(ana) as page:
        page.view()
        assert page.close("/room/a", all=True)["closed"] == 1


def test_a_user_who_closes_all_of_their_own_keeps_the_page(opened, visit, ana) -> None:
    with visit("a", ana), opened(ana) as page:
        page.view()
        assert page.close("/room/a", all=True)["closed"] == 1
        page.until(lambda: not page.rows())


def test_closing_needs_the_permission(opened, visit, eve, caplog) -> None:
    with visit("a%1b[2J") as ws, opened(eve) as page:
        page.view()
        assert page.may_close is False
        answer = page.close("/room/a\x1b[2J")
        assert (answer["monitor"], answer["code"]) == ("refused", "forbidden")
        ws.send("still there")
        assert ws.receive() == "still there"
    (record,) = (one for one in caplog.records if one.name == "dwebsocket.monitor")
    text = record.getMessage()
    assert text.startswith(f"eve (user {eve.pk}) may not close connections")
    assert "/room/a\\x1b[2J" in text


def test_the_permission_is_read_at_the_moment_of_closing(opened, visit, ana) -> None:
    with visit("a"), opened(ana) as page:
        page.view()
        assert page.may_close is True
        ana.user_permissions.clear()
        assert page.close("/room/a")["code"] == "forbidden"


def test_the_page_learns_that_a_permission_has_gone(
    opened, visit, ana, monkeypatch
) -> None:
    monkeypatch.setattr(session, "CHECK", 0.1)
    with visit("a"), opened(ana) as page:
        page.view()
        assert page.may_close is True
        ana.user_permissions.clear()
        page.until(lambda: page.may_close is False)


def test_only_what_the_page_shows_can_be_closed(opened, visit, ana) -> None:
    with visit("a") as ws, opened(ana) as page, opened(ana) as other:
        other.view()
        page.view(search="nothing like that")
        key = other.rows()[0]["key"]
        page.say(monitor="close", number=9, key=key)
        while page.hear()["monitor"] != "refused":
            pass
        assert page.frames[-1] == {"monitor": "refused", "number": 9, "code": "gone"}
        ws.send("still there")
        assert ws.receive() == "still there"


def test_a_connection_that_has_ended_meanwhile(opened, visit, ana, monkeypatch) -> None:
    with opened(ana) as page:
        monkeypatch.setattr(session.board, "interval", 600)
        with visit("a"):
            page.view()
        assert page.close("/room/a")["closed"] == 0


def test_a_login_that_has_ended_closes_nothing(opened, visit, ana) -> None:
    with visit("a") as ws, opened(ana) as page:
        page.view()
        key = page.rows()[0]["key"]
        Session.objects.all().delete()
        page.say(monitor="close", number=1, key=key)
        assert page.ws.wait_closed(PATIENCE) == 4001
        ws.send("still there")
        assert ws.receive() == "still there"


def test_without_the_database_nothing_is_closed(
    opened, visit, ana, monkeypatch
) -> None:
    def fresh(request):
        raise DatabaseError("away")

    with visit("a") as ws, opened(ana) as page:
        page.view()
        monkeypatch.setattr(session.permissions, "fresh", fresh)
        assert page.close("/room/a")["code"] == "unavailable"
        ws.send("still there")
        assert ws.receive() == "still there"


def test_processes_that_cannot_be_asked(opened, visit, ana, monkeypatch) -> None:
    def close(*words):
        raise OSError("the broker is away")

    with visit("a"), opened(ana) as page:
        page.view()
        monkeypatch.setattr(session.closing.monitor, "close", close)
        assert page.close("/room/a")["code"] == "unavailable"


def test_figures_that_cannot_be_read(opened, visit, ana, monkeypatch, caplog) -> None:
    look = session.board.look
    errors = [PermissionError("not yours")]

    def failing(page, view):
        if errors:
            raise errors.pop()
        return look(page, view)

    monkeypatch.setattr(session.board, "look", failing)
    with visit("a"), opened(ana) as page:
        page.view()
        assert page.paths() == ["/room/a"]
    assert "not yours" in caplog.text


def test_a_page_that_reads_slowly_misses_updates_not_changes(
    opened, visit, ana, monkeypatch
) -> None:
    with visit("a"), opened(ana) as page:
        with monkeypatch.context() as patch:
            patch.setattr(session, "WAITING", -1)
            page.number += 1
            page.say(monitor="view", number=page.number)
            page.ws.receive_nothing(0.2)
        page.until(lambda: page.frames and page.paths() == ["/room/a"])


@pytest.mark.parametrize("kind", ["logout", "session", "inactive", "staff", "deleted"])
def test_the_page_ends_with_its_users_rights(opened, ana, monkeypatch, kind) -> None:
    monkeypatch.setattr(session, "CHECK", 0.1)
    client = client_of(ana)
    with testing.connect(client, LIVE) as ws:
        if kind == "logout":
            client.post("/admin/logout/")
        elif kind == "session":
            Session.objects.all().delete()
        elif kind == "inactive":
            User.objects.filter(pk=ana.pk).update(is_active=False)
        elif kind == "staff":
            User.objects.filter(pk=ana.pk).update(is_staff=False)
        else:
            User.objects.filter(pk=ana.pk).delete()
        assert ws.wait_closed(PATIENCE) == 4001


@override_settings(DWEBSOCKET={"RECHECK_INTERVAL": 0})
def test_rights_are_checked_whatever_the_settings_say(ana, monkeypatch) -> None:
    monkeypatch.setattr(session, "CHECK", 0.1)
    with testing.connect(client_of(ana), LIVE) as ws:
        User.objects.filter(pk=ana.pk).update(is_staff=False)
        assert ws.wait_closed(PATIENCE) == 4001


STRANGE = "<script>alert(1)</script>"


def test_strange_names_come_as_they_are(opened, visit, ana) -> None:
    with visit(STRANGE, user(STRANGE)), opened(ana) as page:
        page.view()
        (row,) = page.rows()
        assert row["name"] == STRANGE
        assert row["path"] == f"/room/{STRANGE}"
        assert page.rows("groups")[0]["key"] == STRANGE
