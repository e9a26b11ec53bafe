"""Pushes, and whom they reach."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from types import SimpleNamespace

import pytest
from django.db import transaction

from dwebsocket import push, users

USER = SimpleNamespace(pk=7, is_authenticated=True)


def _visit(websocket, **attributes):
    users.identify(SimpleNamespace(path="/", **attributes), websocket)


@pytest.fixture
def visitor(pair):
    websocket, peer = pair()
    _visit(websocket, user=USER)
    return websocket, peer


def test_a_user_is_reached_by_instance_and_by_key(visitor):
    _, peer = visitor
    assert push.to_user(USER, "one").local == 1
    assert push.to_user(7, {"day": date(2020, 2, 29)}).local == 1
    assert push.to_user("8", "not you").local == 0
    assert peer.message() == "one"
    assert json.loads(peer.message()) == {"day": "2020-02-29"}


@pytest.mark.parametrize(
    "attributes",
    [{}, {"user": None}, {"user": SimpleNamespace(pk=None, is_authenticated=False)}],
)
def test_nobody_is_nobody(pair, attributes):
    websocket, _ = pair()
    _visit(websocket, **attributes)
    assert push.to_user("None", "x").local == 0


def test_a_user_that_cannot_be_found_is_logged(pair, caplog):
    class Request:
        path = "/"

        @property
        def user(self):
            raise RuntimeError("no database")

    users.identify(Request(), pair()[0])
    assert "could not be found" in caplog.text


def test_a_user_without_a_key_is_refused():
    with pytest.raises(ValueError, match="primary key"):
        push.to_user(SimpleNamespace(pk=None), "x")


def test_everybody_is_reached(quiet, pair):
    peers = [pair()[1] for _ in range(3)]
    assert push.to_all("news").local == 3 + quiet
    assert [peer.message() for peer in peers] == ["news"] * 3


def test_a_group_is_reached_with_what_json_can_express(pair):
    websocket, peer = pair()
    websocket.join("push.group")
    assert push.to_group("push.group", [1, 2]).local == 1
    assert push.to_group("push.group", "x", exclude=websocket).local == 0
    assert peer.message() == "[1, 2]"
    with pytest.raises(TypeError):
        push.to_group("push.group", object())


def test_a_user_is_sent_away(visitor):
    websocket, peer = visitor
    assert push.disconnect(USER, reason="logged out").local == 1
    closing = peer.closing()
    assert (closing.code, closing.reason) == (4001, "logged out")
    with pytest.raises(ValueError, match="123 bytes"):
        push.disconnect(USER, reason="x" * 124)
    with pytest.raises(ValueError, match="1006"):
        push.disconnect(USER, 1006)


@pytest.mark.parametrize("commits", [True, False])
def test_on_commit_waits_for_the_transaction(visitor, transactional_db, commits):
    websocket, peer = visitor

    class Rollback(Exception):
        pass

    try:
        with transaction.atomic():
            assert push.to_user(7, "committed", on_commit=True) is None
            push.to_user(7, "at once")
            if not commits:
                raise Rollback
    except Rollback:
        pass
    push.to_user(7, "afterwards")
    expected = ["at once", *["committed"] * commits, "afterwards"]
    assert [peer.message() for _ in expected] == expected


def test_the_async_twins_do_the_same(visitor):
    websocket, peer = visitor
    websocket.join("push.async")

    async def main():
        assert (await push.ato_group("push.async", "1")).local == 1
        assert (await push.ato_user(7, "2")).local == 1
        assert (await push.ato_all("3")).local >= 1
        assert (await push.adisconnect(7)).local == 1

    asyncio.run(main())
    assert [peer.message() for _ in range(3)] == ["1", "2", "3"]
    assert peer.closing().code == 4001
