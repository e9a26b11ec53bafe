"""Classes with synchronous handlers, each behind a real server."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import logging
import queue
import threading
import time
import weakref

import pytest
from django.contrib.auth.mixins import (
    LoginRequiredMixin,
    PermissionRequiredMixin,
    UserPassesTestMixin,
)
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone, translation
from websockets.exceptions import InvalidStatus

from dwebsocket import (
    ConfigurationError,
    WebSocketView,
    _engine,
    accept_websocket,
    hub,
    monitor,
    require_websocket,
    signals,
    websocket,
)
from dwebsocket.logins import following
from dwebsocket.runners import pool
from dwebsocket.websocket import endpoint
from tests.python.live import HANDSHAKE

from .helpers import (
    TIMEOUT,
    Echo,
    Failing,
    Noted,
    closing,
    code_of,
    echoes,
    noted,
    numbers,
    receiving,
    send_all,
    served,
)


def test_a_message_reaches_its_handler_and_the_answer_the_client(site):
    with served(site, Echo).connect() as connection:
        echoes(connection, "Grüße")
        connection.send(b"\xff")
        assert connection.recv(timeout=TIMEOUT) == b"\xff"


def test_the_handlers_are_called_in_order_and_the_end_has_the_clients_code(site):
    cls = noted()
    with served(site, cls).connect() as connection:
        echoes(connection, "one")
        connection.close(4001, "enough")
    assert cls.ended.wait(TIMEOUT)
    assert cls.notes == ["open", "one", 4001]


def test_messages_before_the_end_are_handled_before_it(site):
    class Deaf(Noted):
        def on_message(self, message):
            self.notes.append(message)

    cls = noted(Deaf)
    with served(site, cls).connect() as connection:
        for number in range(100):
            connection.send(str(number))
    assert cls.ended.wait(TIMEOUT)
    assert cls.notes == ["open", *numbers(100), 1000]


def test_each_connection_has_an_instance_with_its_request_and_arguments(site):
    class Room(WebSocketView):
        def on_message(self, message):
            self.seen = [*getattr(self, "seen", []), message]
            path, room = self.request.path, self.kwargs["room"]
            self.websocket.send_json([path, room, list(self.args), self.seen])

    live = site({"<str:room>/": Room.as_view()})
    with live.connect("a/") as first, live.connect("b/") as second:
        for connection, room in ((first, "a"), (second, "b")):
            connection.send("x")
            expected = f'["/{room}/", "{room}", [], ["x"]]'
            assert connection.recv(timeout=TIMEOUT) == expected


def test_an_idle_connection_has_no_thread(site):
    live = served(site, Echo)
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(live.connect()) for _ in range(50)]
        for connection in many:
            echoes(connection)
        names = [thread.name for thread in threading.enumerate()]
    assert 1 <= names.count("websocket-pool") <= 32
    assert not [name for name in names if name.removeprefix("websocket-").isdecimal()]


def test_a_slow_handler_stops_neither_messages_nor_openings_of_others(site):
    go, inside = threading.Event(), threading.Event()

    class Slow(WebSocketView):
        def on_message(self, message):
            if message == "wait":
                inside.set()
                assert go.wait(TIMEOUT)
            self.websocket.send(message)

    live = served(site, Slow)
    try:
        with live.connect() as slow, live.connect() as other:
            slow.send("wait")
            assert inside.wait(TIMEOUT)
            echoes(other, *numbers(20))
            with live.connect() as third:
                echoes(third)
            go.set()
            assert slow.recv(timeout=TIMEOUT) == "wait"
    finally:
        go.set()


def test_handlers_of_several_slow_connections_run_side_by_side(site):
    together = threading.Barrier(8)

    class Slow(WebSocketView):
        def on_message(self, message):
            together.wait(TIMEOUT)
            self.websocket.send(message)

    live = served(site, Slow)
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(live.connect()) for _ in range(8)]
        for connection in many:
            connection.send("x")
        for connection in many:
            assert connection.recv(timeout=TIMEOUT) == "x"


def test_messages_of_one_connection_are_never_handled_side_by_side(site):
    inside = threading.Lock()
    wrong = []

    class Slow(WebSocketView):
        def on_message(self, message):
            if not inside.acquire(blocking=False):
                wrong.append(message)
                return
            time.sleep(0.003)  # longer than the watch's patience: the lead passes on
            inside.release()
            self.websocket.send(message)

    with served(site, Slow).connect() as connection:
        for number in range(100):
            connection.send(str(number))
        answers = [connection.recv(timeout=TIMEOUT) for _ in range(100)]
    assert answers == numbers(100)
    assert not wrong


def test_an_exception_is_logged_and_closes_with_1011(site, caplog):
    class Wrong(noted()):  # type: ignore[misc]
        def on_message(self, message):
            raise ValueError("wrong on purpose")

    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, Wrong).connect() as connection,
    ):
        send_all(connection, "x", "y")
        assert code_of(connection) == 1011
        assert Wrong.ended.wait(TIMEOUT)
    assert Wrong.notes == ["open", 1011]
    (record,) = [r for r in caplog.records if r.exc_info]
    assert "wrong on purpose" in str(record.exc_info)
    # The traceback leads to the handler.
    assert "on_message" in record.exc_text


def test_an_exception_in_on_open_closes_and_on_close_is_called(site, caplog):
    class Wrong(noted()):  # type: ignore[misc]
        def on_open(self):
            raise ValueError("wrong on purpose")

    with (
        caplog.at_level(logging.CRITICAL, "dwebsocket.view"),
        served(site, Wrong).connect() as connection,
    ):
        assert code_of(connection) == 1011
        assert Wrong.ended.wait(TIMEOUT)
    assert Wrong.notes == [1011]


def test_an_exception_in_on_close_is_logged_once(site, caplog):
    class Wrong(WebSocketView):
        calls = 0

        def on_close(self, code):
            Wrong.calls += 1
            raise ValueError("wrong on purpose")

    with closing() as closed, caplog.at_level(logging.ERROR, "dwebsocket.view"):
        with served(site, Wrong).connect():
            pass
        assert closed.wait(TIMEOUT)
    assert Wrong.calls == 1
    assert len([r for r in caplog.records if r.exc_info]) == 1


def test_a_handler_closes_and_sees_no_further_message(site):
    class Closing(noted()):  # type: ignore[misc]
        def on_message(self, message):
            self.notes.append(message)
            self.websocket.close(4002, "done")

    with served(site, Closing).connect() as connection:
        send_all(connection, "one", "two")
        assert code_of(connection) == 4002
        assert Closing.ended.wait(TIMEOUT)
    assert Closing.notes == ["open", "one", 4002]


def test_another_thread_sends_and_closes(site):
    opened: list = []
    ready = threading.Event()

    class Kept(noted()):  # type: ignore[misc]
        def on_open(self):
            opened.append(self.websocket)
            ready.set()

    with served(site, Kept).connect() as connection:
        assert ready.wait(TIMEOUT)
        opened[0].send("from elsewhere")
        assert connection.recv(timeout=TIMEOUT) == "from elsewhere"
        opened[0].close(4003)
        assert code_of(connection) == 4003
        assert Kept.ended.wait(TIMEOUT)
    assert Kept.notes == [4003]


def test_groups_are_joined_before_on_open_and_left_at_the_end(site):
    class Room(WebSocketView):
        groups = ["room.{room}", "everybody"]

        def on_open(self):
            self.websocket.send_json(sorted(self.websocket.groups))

    live = site({"<str:room>/": Room.as_view()})
    with closing() as left:
        with live.connect("seven/") as connection:
            joined = connection.recv(timeout=TIMEOUT)
            assert joined == '["everybody", "room.seven"]'
            assert hub.group("room.seven").send("to all").local == 1
            assert connection.recv(timeout=TIMEOUT) == "to all"
        assert left.wait(TIMEOUT)
    assert hub.group("room.seven").send("nobody").local == 0


def test_a_group_that_needs_another_argument_is_refused_before_the_101(site, caplog):
    class Room(WebSocketView):
        groups = ["room.{room}"]

    with (
        caplog.at_level(logging.CRITICAL, "django.request"),
        pytest.raises(InvalidStatus) as refused,
        served(site, Room).connect(),
    ):
        pass
    assert refused.value.response.status_code == 500


@pytest.mark.parametrize(
    "name", ["{}", "room.{", "room.{room:d}", "room.{room.floor}", "room.{room[x]}"]
)
def test_a_group_that_cannot_be_filled_is_an_error_of_the_project(name):
    view = type("Room", (WebSocketView,), {"groups": [name]})()
    view.kwargs = {"room": "seven"}
    with pytest.raises(ConfigurationError, match="'groups' of Room"):
        view._ws_groups()


@pytest.mark.parametrize(
    "path",
    ["*/", "%2A/", "b*/", "b%0A/", "b%00/", "x" * 251 + "/", "%C3%A4" * 126 + "/"],
)
def test_a_visitor_chooses_no_wildcard_and_no_wrong_name(site, path, caplog):
    class Room(WebSocketView):
        groups = ["room.{room}"]

    live = site({"<str:room>/": Room.as_view()})
    with (
        live.connect("board/"),
        caplog.at_level(logging.CRITICAL, "django.request"),
        pytest.raises(InvalidStatus) as refused,
        live.connect(path),
    ):
        pass
    assert refused.value.response.status_code == 404


def test_the_project_may_name_wildcards(site):
    class Room(WebSocketView):
        groups = ["board.*", "room.{room}.*"]

        def on_open(self):
            self.websocket.send_json(sorted(self.websocket.groups))

    live = site({"<str:room>/": Room.as_view()})
    with live.connect("seven/") as connection:
        joined = connection.recv(timeout=TIMEOUT)
        assert joined == '["board.*", "room.seven.*"]'
        assert hub.group("room.seven.door").send("to the room").local == 1
        assert connection.recv(timeout=TIMEOUT) == "to the room"


@pytest.mark.parametrize(
    ("mixin", "attributes", "status"),
    [
        (LoginRequiredMixin, {"login_url": "/login/"}, 302),
        (LoginRequiredMixin, {"raise_exception": True}, 403),
        (
            PermissionRequiredMixin,
            {"permission_required": "x.y", "raise_exception": True},
            403,
        ),
        (UserPassesTestMixin, {"test_func": lambda self: False}, 302),
    ],
)
def test_djangos_mixins_refuse_before_the_101(mixin, attributes, status):
    cls = type("Guarded", (mixin, noted()), attributes)
    request = RequestFactory().get("/", **handshake())
    request.user = AnonymousUser()
    view = cls.as_view()
    if status == 403:
        with pytest.raises(PermissionDenied):
            view(request)
    else:
        assert view(request).status_code == status
    assert cls.notes == []


def handshake():
    return {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in HANDSHAKE.items()
    }


def test_plain_http_gets_426_without_a_method_for_it(site):
    response, body = served(site, Echo).request()
    assert response.status == 426
    assert b"WebSockets only" in body


def test_plain_http_gets_the_answer_of_get(site):
    class Page(Echo):
        def get(self, request, *args, **kwargs):
            return HttpResponse("a page")

    live = served(site, Page)
    response, body = live.request()
    assert (response.status, body) == (200, b"a page")
    response, _ = live.request(method="TRACE")
    assert response.status == 405
    with live.connect() as connection:
        echoes(connection)


def test_plain_http_gets_the_answer_of_an_asynchronous_get(site):
    class Page(Echo):
        async def get(self, request, *args, **kwargs):
            return HttpResponse("a page")

    response, body = served(site, Page).request()
    assert (response.status, body) == (200, b"a page")


def test_attributes_are_the_settings_of_the_view(site):
    class Small(Echo):
        max_message_size = 10

    with served(site, Small).connect() as connection:
        connection.send("x" * 11)
        assert code_of(connection) == 1009


def test_as_view_overrides_settings_and_attributes(site):
    class Named(WebSocketView):
        name = "class"

        def on_open(self):
            self.websocket.send(self.name)

    live = site({"": Named.as_view(name="given", max_message_size=10)})
    with live.connect() as connection:
        assert connection.recv(timeout=TIMEOUT) == "given"
        connection.send("x" * 11)
        assert code_of(connection) == 1009
    assert not hasattr(Named, "max_message_size")


@pytest.mark.parametrize(
    ("attributes", "part"),
    [
        ({"max_message_size": 0}, "max_message_size"),
        ({"dialect": "klingon"}, "dialect"),
        ({"subprotocols": "chat"}, "subprotocols"),
        ({"groups": "room"}, "groups"),
        ({"groups": b"room"}, "groups"),
        ({"groups": 3}, "groups"),
        ({"groups": ["room", 3]}, "groups"),
        ({"groups": ["room", ""]}, "groups"),
        ({"groups": ["x" * 300]}, "groups"),
        ({"groups": ["a\n"]}, "groups"),
        ({"subprotocols": 5}, "subprotocols"),
        ({"subprotocols": ["a b"]}, "subprotocols"),
        ({"cancel_on_disconnect": True}, "synchronous"),
    ],
)
def test_a_wrong_attribute_is_an_error_of_as_view(attributes, part):
    with pytest.raises(ConfigurationError, match=part):
        type("Wrong", (WebSocketView,), attributes).as_view()
    with pytest.raises(ConfigurationError, match=part):
        Echo.as_view(**attributes)


def no_names(self):
    return ["room"]


async def no_name(self, request, offered):
    return offered[0]


@pytest.mark.parametrize(
    ("attributes", "part"),
    [
        ({"groups": no_names}, "groups"),
        ({"groups": classmethod(no_names)}, "groups"),
        ({"subprotocols": property(no_names)}, "subprotocols"),
        ({"subprotocols": no_name}, "async def"),
    ],
)
def test_a_method_where_none_can_be_is_an_error_of_as_view(attributes, part):
    with pytest.raises(ConfigurationError, match=part):
        type("Wrong", (WebSocketView,), attributes).as_view()


def yields(self, *args):
    yield


async def yields_later(self, *args):
    yield


@pytest.mark.parametrize("name", ["on_open", "on_message", "on_close"])
@pytest.mark.parametrize("handler", [yields, yields_later, None])
def test_a_handler_whose_call_would_run_nothing_is_an_error_of_as_view(name, handler):
    with pytest.raises(ConfigurationError, match=rf"Wrong\.{name}"):
        type("Wrong", (WebSocketView,), {name: handler}).as_view()


@pytest.mark.parametrize("found", ["room", None, [3], [""]])
def test_a_property_that_names_no_groups_is_an_error_of_the_project(found):
    attributes = {"groups": property(lambda self: found)}
    view = type("Room", (WebSocketView,), attributes)()
    view.kwargs = {}
    with pytest.raises(ConfigurationError, match="'groups' of Room"):
        view._ws_groups()


def test_a_property_may_name_the_groups(site):
    class Room(WebSocketView):
        @property
        def groups(self):
            return ["property.{room}", f"path.{len(self.request.path)}"]

        def on_open(self):
            self.websocket.send_json(sorted(self.websocket.groups))

    live = site({"<str:room>/": Room.as_view()})
    with live.connect("seven/") as connection:
        assert connection.recv(timeout=TIMEOUT) == '["path.7", "property.seven"]'


@pytest.mark.parametrize(
    "decorator", [websocket, accept_websocket, require_websocket, websocket()]
)
def test_a_decorator_on_the_class_is_not_needed(decorator):
    with pytest.raises(ConfigurationError, match="needs no decorator"):
        decorator(Echo)


def test_the_classic_dialect_gives_bytes(site):
    class Classic(WebSocketView):
        dialect = "classic"

        def on_message(self, message):
            self.websocket.send(repr(message))

    with served(site, Classic).connect() as connection:
        connection.send("x")
        assert connection.recv(timeout=TIMEOUT) == "b'x'"


def test_subprotocols_are_a_list_or_a_method(site):
    class Listed(WebSocketView):
        subprotocols = ["two", "one"]

    class Chosen(WebSocketView):
        def subprotocols(self, request, offered):
            assert request is self.request
            return offered[-1]

    def choose(request, offered):
        assert request.path == "/given"
        return offered[0]

    live = site(
        {
            "listed": Listed.as_view(),
            "chosen": Chosen.as_view(),
            "given": Listed.as_view(subprotocols=choose),
        }
    )
    with live.connect("given", subprotocols=["one", "three"]) as connection:
        assert connection.subprotocol == "one"
    with live.connect("listed", subprotocols=["one", "two"]) as connection:
        assert connection.subprotocol == "two"
    with live.connect("chosen", subprotocols=["one", "three"]) as connection:
        assert connection.subprotocol == "three"


def test_a_foreign_origin_is_refused(site):
    with (
        pytest.raises(InvalidStatus) as refused,
        served(site, Echo).connect(origin="https://evil.example"),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_every_handler_has_language_time_zone_and_context_of_the_request(site):
    variable = contextvars.ContextVar("variable", default="nobody's")
    seen: list = []
    ended = threading.Event()

    def note(view):
        zone = timezone.get_current_timezone_name()
        seen.append((translation.get_language(), zone, variable.get()))

    class Local(WebSocketView):
        on_open = note

        def on_message(self, message):
            note(self)
            self.websocket.send(message)

        def on_close(self, code):
            note(self)
            ended.set()

    view = Local.as_view()

    def around(request):
        variable.set("the request's")
        with translation.override("de"), timezone.override("Asia/Tokyo"):
            return view(request)

    live = site({"": around, "other": Echo.as_view()})
    with live.connect() as connection, live.connect("other") as other:
        for _ in range(3):
            echoes(connection)
            echoes(other, "y")
    assert ended.wait(TIMEOUT)
    assert set(seen) == {("de", "Asia/Tokyo", "the request's")}
    assert len(seen) == 5


def test_the_signals_of_a_view_are_sent(site):
    seen: list = []

    def opened(sender, websocket, request, **kwargs):
        seen.append(("opened", request.path))

    def message(sender, message, **kwargs):
        seen.append(("message", message))

    def closed(sender, code, **kwargs):
        seen.append(("closed", code))

    with (
        receiving(signals.websocket_opened, opened),
        receiving(signals.websocket_message, message),
        receiving(signals.websocket_closed, closed),
        closing() as ended,
    ):
        with served(site, Echo).connect() as connection:
            echoes(connection)
        assert ended.wait(TIMEOUT)
    assert seen == [("opened", "/"), ("message", "x"), ("closed", 1000)]


def test_nothing_runs_after_the_end(site):
    with served(site, Echo).connect() as connection:
        echoes(connection)
        assert pool.runner.count() >= 1
    assert pool.runner.join(TIMEOUT)
    assert pool.runner.running() == []


@pytest.fixture
def _emptied():
    """Wait for the last connection: other tests of this process count connections."""
    yield
    deadline = time.monotonic() + TIMEOUT
    while _engine.connection_count() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.usefixtures("_emptied")
def test_a_peer_that_reads_nothing_gets_no_more_answers_and_stops_nobody(site):
    class Loud(WebSocketView):
        outbox_bytes = 65_536
        compression = False
        send_timeout = 2.0
        close_timeout = 0.5

        def on_message(self, message):
            self.websocket.send("x" * 60_000)

    live = site({"loud": Loud.as_view(), "echo": Echo.as_view()})
    with live.connect("echo") as other, contextlib.ExitStack() as stack:
        for _ in range(40):
            deaf = stack.enter_context(
                live.connect("loud", close_timeout=0.1, max_queue=1, ping_interval=None)
            )
            send_all(deaf, *["more"] * 200)
        echoes(other, *numbers(20))


class Deaf(WebSocketView):
    """Its peer reads nothing, and its outbox is small."""

    outbox_bytes = 65_536
    compression = False
    send_timeout = 60.0
    close_timeout = 0.5
    ping_interval = None


def fill(websocket):
    while websocket.send("x" * 60_000):
        pass


class Filling(Deaf):
    def on_message(self, message):
        fill(self.websocket)


@contextlib.contextmanager
def deaf(live, path):
    """Connect many peers that read nothing, more than there are threads."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                live.connect(path, close_timeout=0.02, max_queue=1, ping_interval=None)
            )
            for _ in range(40)
        ]


@pytest.mark.usefixtures("_emptied")
def test_handlers_that_send_to_others_that_read_nothing_stop_nobody(site):
    sinks = queue.SimpleQueue()

    class Sink(Deaf):
        def on_open(self):
            sinks.put(self.websocket)

    class Source(WebSocketView):
        def on_message(self, message):
            fill(sinks.get(timeout=TIMEOUT))

    live = site({"sink": Sink.as_view(), "": Source.as_view(), "echo": Echo.as_view()})
    with live.connect("echo") as other, deaf(live, "sink"), deaf(live, "") as sources:
        for source in sources:
            source.send("go")
        echoes(other, *numbers(20))


@pytest.mark.usefixtures("_emptied")
def test_handlers_that_send_to_deaf_views_stop_nobody(site):
    sinks, done = queue.SimpleQueue(), threading.Event()

    @websocket(outbox_bytes=65_536, compression=False, send_timeout=60)
    def sink(request):
        sinks.put(request.websocket)
        done.wait(4 * TIMEOUT)

    class Source(WebSocketView):
        def on_message(self, message):
            peer = sinks.get(timeout=TIMEOUT)
            while peer.send("x" * 60_000, overflow="block"):
                pass

    live = site({"sink": sink, "": Source.as_view(), "echo": Echo.as_view()})
    with live.connect("echo") as other, deaf(live, "sink"), deaf(live, "") as sources:
        for source in sources:
            source.send("go")
        try:
            echoes(other, *numbers(20))
        finally:
            done.set()


@pytest.mark.usefixtures("_emptied")
@pytest.mark.parametrize("overflow", ["auto", "block"])
def test_peers_that_read_nothing_stop_nobody(site, overflow):
    view = Filling.as_view(overflow=overflow)
    live = site({"fill": view, "echo": Echo.as_view()})
    with live.connect("echo") as other, deaf(live, "fill") as connections:
        for connection in connections:
            connection.send("go")
        echoes(other, *numbers(20))


@pytest.mark.usefixtures("_emptied")
def test_waiting_threads_of_the_project_take_nothing_from_handlers(site):
    """Only handlers count among those that may wait."""
    waiting, going = queue.SimpleQueue(), threading.Event()
    threads = []

    class Own(Deaf):
        def on_message(self, message):
            threads.append(threading.Thread(target=self.fill, daemon=True))
            threads[-1].start()

        def fill(self):
            while self.websocket.send("x" * 60_000, overflow="drop_newest"):
                pass
            waiting.put(None)
            self.websocket.send("x" * 60_000, overflow="block")

    class Slow(Deaf):
        def on_message(self, message):
            while self.websocket.send("x" * 60_000, overflow="drop_newest"):
                pass
            going.set()
            sent.append(self.websocket.send("x" * 60_000))
            self.websocket.close()

    sent: list[bool] = []
    live = site({"own": Own.as_view(), "": Slow.as_view()})
    with live.connect("", max_queue=1) as slow, deaf(live, "own") as connections:
        for connection in connections:
            connection.send("go")
        for _ in connections:
            waiting.get(timeout=TIMEOUT)
        slow.send("go")
        assert going.wait(TIMEOUT)
        code_of(slow)
    assert sent == [True]
    for thread in threads:
        thread.join(TIMEOUT)


def test_a_flood_of_one_connection_does_not_starve_the_others(site):
    live = served(site, Echo)
    stop = threading.Event()

    def flood():
        with live.connect() as connection:
            while not stop.is_set():
                for _ in range(50):
                    connection.send("x")
                for _ in range(50):
                    connection.recv(timeout=TIMEOUT)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        with live.connect() as other:
            echoes(other, *numbers(50))
    finally:
        stop.set()
        thread.join()


def test_a_hidden_coroutine_is_a_mistake_that_is_named(site, caplog):
    async def coroutine():
        raise AssertionError("never runs")

    class Hidden(noted()):  # type: ignore[misc]
        def on_message(self, message):
            return coroutine()

    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, Hidden).connect() as connection,
    ):
        connection.send("x")
        assert code_of(connection) == 1011
        assert Hidden.ended.wait(TIMEOUT)
    assert "coroutine" in caplog.text or "async" in caplog.text
    assert Hidden.notes == ["open", 1011]


def test_the_monitor_shows_path_groups_and_counts(site):
    class Room(Echo):
        groups = ["shown.room"]

    with served(site, Room).connect() as connection:
        echoes(connection)
        (row,) = monitor.connections(search="shown.room", scope="machine").rows
        assert (row.path, row.received_messages, row.sent_messages) == ("/", 1, 1)


def test_what_a_handler_returns_does_not_matter(site):
    class Returns(WebSocketView):
        def on_open(self):
            return self.websocket.send("open")

        def on_message(self, message):
            return self.websocket.send(message)

    with served(site, Returns).connect() as connection:
        assert connection.recv(timeout=TIMEOUT) == "open"
        echoes(connection, *numbers(3))


def test_instances_go_with_their_connections(site):
    alive: weakref.WeakSet = weakref.WeakSet()
    ended = threading.Event()

    class Counted(Echo):
        def on_open(self):
            alive.add(self)

        def on_close(self, code):
            ended.set()

    with served(site, Counted).connect() as connection:
        echoes(connection)
        assert len(alive) == 1
    assert ended.wait(TIMEOUT)
    assert pool.runner.join(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    while alive and time.monotonic() < deadline:
        time.sleep(0.005)
        gc.collect()
    assert not alive


def test_refusing_exceptions_close_with_1008(site):
    class Strict(WebSocketView):
        def on_message(self, message):
            raise PermissionDenied("no")

    with served(site, Strict).connect() as connection:
        connection.send("x")
        assert code_of(connection) == 1008


def test_what_hooks_carry_over_is_applied_for_each_handler(site, monkeypatch):
    local = threading.local()
    seen: list = []
    ended = threading.Event()

    @contextlib.contextmanager
    def tenant(name):
        before = getattr(local, "tenant", None)
        local.tenant = name
        try:
            yield
        finally:
            local.tenant = before

    def hook(request):
        return tenant(request.GET["tenant"])

    class Tenants(WebSocketView):
        def on_open(self):
            seen.append(local.tenant)

        def on_message(self, message):
            self.websocket.send(local.tenant)

        def on_close(self, code):
            seen.append(local.tenant)
            ended.set()

    monkeypatch.setattr("dwebsocket.context._hooks", [hook])
    live = served(site, Tenants)
    with live.connect("?tenant=a") as one, live.connect("?tenant=b") as two:
        for _ in range(5):
            one.send("x")
            two.send("x")
            assert one.recv(timeout=TIMEOUT) == "a"
            assert two.recv(timeout=TIMEOUT) == "b"
        two.close()
        assert ended.wait(TIMEOUT)
    assert seen[:2] in (["a", "b"], ["b", "a"])
    assert seen[2] == "b"


def test_a_hook_that_fails_closes_and_is_logged(site, monkeypatch, caplog):
    @contextlib.contextmanager
    def broken():
        raise ValueError("wrong on purpose")
        yield

    monkeypatch.setattr("dwebsocket.context._hooks", [lambda request: broken()])
    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, Echo).connect() as connection,
    ):
        assert code_of(connection) == 1011
    assert pool.runner.join(TIMEOUT)
    assert "wrong on purpose" in caplog.text


def test_a_handler_that_overlooks_the_end_is_ended(site, caplog):
    class Stubborn(noted()):  # type: ignore[misc]
        gone_timeout = 0.2

        def on_message(self, message):
            self.websocket.send("begun")
            while True:
                self.websocket.send("are you there?")

    with caplog.at_level(logging.WARNING, "dwebsocket.view"):
        with served(site, Stubborn).connect() as connection:
            connection.send("x")
            assert connection.recv(timeout=TIMEOUT) == "begun"
            connection.socket.close()
        assert Stubborn.ended.wait(TIMEOUT)
    assert "GONE_TIMEOUT" in caplog.text


class Ending(Noted):
    """Can be looked at afterwards; old code's callback fails for the message "old"."""

    recheck_interval = 60

    def on_open(self):
        super().on_open()
        self.websocket.handle = self.old
        type(self).rights = endpoint.of(self.websocket).rights

    def old(self, opcode, message):
        if message == b"old" or message == "old":
            raise ValueError("wrong on purpose")


@pytest.mark.parametrize("mistake", ["hook", "receiver", "old"])
def test_whatever_fails_the_end_is_an_end(site, monkeypatch, caplog, mistake):
    failing = Failing(mistake, monkeypatch)
    followed: list = []
    end = following.end
    monkeypatch.setattr(following, "end", lambda of: (followed.append(of), end(of)))
    cls = noted(Ending)
    with (
        caplog.at_level(logging.ERROR, "dwebsocket.view"),
        served(site, cls).connect() as connection,
    ):
        echoes(connection)
        failing.begin()
        connection.send("old")
        code = code_of(connection)
    assert pool.runner.join(TIMEOUT)
    assert code == 1011
    assert cls.notes == ["open", "x", 1011]
    assert (failing.heard, followed) == ([1011], [cls.rights])
