"""Tests by ``manage.py test``: what views write, in and out of transactions."""

# ruff: noqa: PT009, PT027 - these are unittest's tests
from __future__ import annotations

import asyncio
import os

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings

from dwebsocket import hub
from dwebsocket.testing import WebSocketRefused, aconnect, connect
from tests.python.testing import views
from tests.servers.site import crossing

#: How often the race is run that must never be lost.
ROUNDS = int(os.environ.get("TESTING_ROUNDS", "500"))


class Both:
    """What holds with the test's transaction and without one."""

    def test_the_view_sees_the_rows_of_the_test(self) -> None:
        Group.objects.create(name="of the test")
        with connect(self.client, "/groups/") as ws:
            ws.send("of the view")
            self.assertEqual(ws.receive(), "1")
            self.assertTrue(Group.objects.filter(name="of the view").exists())

    rounds = ROUNDS

    def test_the_last_row_is_there_when_the_client_has_left(self) -> None:
        for number in range(self.rounds):
            with connect(self.client, "/groups/") as ws:
                ws.send(f"message {number}")
                self.assertEqual(ws.receive(), "0")
            found = sorted(Group.objects.values_list("name", flat=True))
            self.assertEqual(found, ["left", f"message {number}"])
            Group.objects.all().delete()

    def test_a_dropped_client_leaves_its_last_row(self) -> None:
        with connect(self.client, "/groups/") as ws:
            ws.drop()
        self.assertEqual(Group.objects.get().name, "left")

    def test_atomic_in_the_view(self) -> None:
        with connect(self.client, "/taken/") as ws:
            ws.send("one")
            self.assertEqual(ws.receive(), "made")
            ws.send("undo two")
            self.assertEqual(ws.receive(), "refused")
            self.assertEqual(Group.objects.get().name, "one")

    def test_login(self) -> None:
        self.client.force_login(User.objects.create(username="ana"))
        with connect(self.client, "/about/") as ws:
            ws.send("user")
            self.assertEqual(ws.receive(), "ana")

    def test_the_session_is_saved_when_the_view_has_ended(self) -> None:
        self.client.force_login(User.objects.create(username="ana"))
        for visit in ("1", "2", "3"):
            with connect(self.client, "/visits/") as ws:
                self.assertEqual(ws.receive(), visit)
        self.assertEqual(self.client.session["visits"], 3)

    def test_a_login_that_ends(self) -> None:
        user = User.objects.create(username="ana")
        self.client.force_login(user)
        with connect(self.client, "/watched/") as ws:
            ws.send("may I stay?")
            self.assertEqual(ws.receive(), "True")
            self.client.logout()
            self.assertEqual(ws.wait_closed(), 4001)
        self.client.force_login(user)
        with connect(self.client, "/watched/") as ws:
            User.objects.filter(username="ana").update(is_active=False)
            ws.send("may I stay?")
            self.assertEqual(ws.close_code, 4001)

    async def test_asynchronous(self) -> None:
        await Group.objects.acreate(name="of the test")
        async with aconnect(self.async_client, "/groups/") as ws:
            await ws.send("of the view")
            self.assertEqual(await ws.receive(), "1")
            self.assertEqual(await Group.objects.acount(), 2)
        self.assertEqual(await Group.objects.acount(), 3)

    async def test_the_loop_goes_on(self) -> None:
        async with aconnect(self.client, "/echo/") as ws:
            call = asyncio.create_task(ws.receive(timeout=20))
            for _ in range(3):
                await asyncio.sleep(0)
                self.assertEqual(await Group.objects.acount(), 0)
            await ws.send("late")
            self.assertEqual(await call, "late")

    @override_settings(ROOT_URLCONF=crossing.__name__)
    async def test_views_make_calls_of_the_other_kind(self) -> None:
        """Django runs this method by ``async_to_sync()``, in the test's thread."""
        await Group.objects.acreate(name="of the test")
        for kind in crossing.VIEWS:
            if kind == "own-loop":
                # Its thread has a connection that the test knows nothing of.
                continue
            async with aconnect(self.async_client, f"/crossing/{kind}") as ws:
                for rows in (1, 2):
                    await ws.send("?")
                    answer = str(await ws.receive())
                    *_, last = answer.replace(",", " ").split()
                    self.assertEqual(last, str(rows), kind)
                    await Group.objects.acreate(name=f"{kind} {rows}")
            await Group.objects.exclude(name="of the test").adelete()
        for kind in crossing.REFUSING:
            with self.assertRaises(WebSocketRefused) as refused:
                await aconnect(self.async_client, f"/crossing/{kind}")
            self.assertEqual(refused.exception.status, 409)
            self.assertEqual(set(refused.exception.text), {"1", ","})

    async def test_the_race_of_asynchronous_tests(self) -> None:
        for number in range(self.rounds // 10):
            async with aconnect(self.async_client, "/groups/") as ws:
                await ws.send(f"message {number}")
            names = await sync_to_async(list)(Group.objects.values_list("name"))
            self.assertEqual(len(names), 2)
            await Group.objects.all().adelete()


class InTransactionTests(Both, TestCase):
    """Everything is rolled back."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create(username="of the class")

    def test_nothing_stays_of_a_test(self) -> None:
        self.assertEqual(Group.objects.count(), 0)
        with connect(self.client, "/groups/") as ws:
            ws.send("again")

    test_nothing_stays_of_this_test = test_nothing_stays_of_a_test

    def test_atomic_in_the_test(self) -> None:
        with connect(self.client, "/groups/") as ws:
            with transaction.atomic():
                ws.send("kept")
                self.assertEqual(ws.receive(), "0")
            with self.assertRaises(KeyError), transaction.atomic():
                ws.send("undone")
                self.assertEqual(ws.receive(), "1")
                raise KeyError
            self.assertEqual(Group.objects.get().name, "kept")

    def test_the_view_waits_where_the_class_has_its_rows(self) -> None:
        self.client.force_login(self.user)
        with connect(self.client, "/about/") as ws:
            ws.send("user")
            self.assertEqual(ws.receive(), "of the class")

    def test_on_commit_is_captured(self) -> None:
        views.done.clear()
        with connect(self.client, "/committed/") as ws:
            with self.captureOnCommitCallbacks() as callbacks:
                ws.send("one")
            self.assertEqual((len(callbacks), views.done), (1, []))
            with self.captureOnCommitCallbacks(execute=True):
                ws.send("two")
            self.assertEqual(views.done, ["committed"])

    def test_histories_of_one_test(self) -> None:
        self.assertEqual(hub.group("kept", history=5).history(), [])
        with connect(self.client, "/echo/"):
            hub.group("kept", history=5).send("a message")
        self.assertEqual(len(hub.group("kept", history=5).history()), 1)

    test_are_gone_in_the_next = test_histories_of_one_test


class WithoutTransactionTests(Both, TransactionTestCase):
    """Rows are committed, and the tables are emptied afterwards."""

    rounds = ROUNDS // 5

    def test_on_commit_is_called(self) -> None:
        views.done.clear()
        with connect(self.client, "/committed/") as ws:
            ws.send("one")
            self.assertEqual(views.done, ["committed"])
