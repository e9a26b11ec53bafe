"""The views that the tests of ``dwebsocket.testing`` talk to."""

from __future__ import annotations

import threading
import time
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from dwebsocket import accept_websocket, hub, require_websocket, websocket


@websocket
def echo(request: Any) -> None:
    for message in request.websocket:
        request.websocket.send(message)


@accept_websocket
def classic(request: Any) -> HttpResponse | None:
    if not request.is_websocket():
        return HttpResponse("plain")
    for message in request.websocket:
        if message is not None:
            request.websocket.send(message)
    return None


@require_websocket(dialect="modern", subprotocols=["v2", "v1"])
def spoken(request: Any) -> None:
    request.websocket.send(str(request.websocket.subprotocol))
    request.websocket.wait()


@websocket
def about(request: Any) -> None:
    """Send what the view sees of the request."""
    name = request.websocket.receive()
    if name == "user":
        request.websocket.send(str(request.user))
    elif name == "secure":
        request.websocket.send(str(request.is_secure()))
    else:
        request.websocket.send(str(request.META.get(name)))


@websocket
def visits(request: Any) -> None:
    """Count in the session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    request.websocket.send(str(request.session["visits"]))


@websocket
def fails(request: Any) -> None:
    request.websocket.send("before")
    raise ValueError("the view has failed")


@websocket
def fails_at_the_end(request: Any) -> None:
    request.websocket.wait()
    raise ValueError("the view has failed late")


@websocket
def forbids(request: Any) -> None:
    raise PermissionDenied


@websocket
def closes(request: Any) -> None:
    message = request.websocket.wait()
    request.websocket.close(4001, f"no {message}")


@websocket
def streams(request: Any) -> None:
    """Send without end, and never wait."""
    number = 0
    while not request.websocket.is_closed():
        request.websocket.send(str(number))
        number += 1
        time.sleep(0.005)


@websocket
def polls(request: Any) -> None:
    """Look for messages now and then, and never wait."""
    ws = request.websocket
    while not ws.is_closed():
        message = ws.read()
        if message is not None:
            ws.send(message.upper())
            continue
        time.sleep(0.001)


#: Set by a test to let a view go on.
go_on = threading.Event()
#: What views have done, in order.
done: list[str] = []


@websocket
def hangs(request: Any) -> None:
    """Overlook the end of the conversation."""
    while not go_on.is_set():
        time.sleep(0.01)
    done.append("hangs has ended")


@websocket
def stands_still(request: Any) -> None:
    """Overlook the end of the conversation, and never run."""
    go_on.wait(60)


@websocket
def slow(request: Any) -> None:
    """Do something after each answer, and at the end."""
    for message in request.websocket:
        request.websocket.send(message)
        time.sleep(0.01)
        done.append(message)
    time.sleep(0.1)
    done.append("end")


@websocket
def waits_for_another(request: Any) -> None:
    """Wait for what another view does, and not for a message."""
    request.websocket.wait()
    if request.GET.get("first"):
        assert go_on.wait(20)
    else:
        go_on.set()
    request.websocket.send("together")
    request.websocket.wait()


@websocket
def helped(request: Any) -> None:
    """Let a thread of the view's own send."""
    ws = request.websocket

    def work() -> None:
        for number in range(3):
            ws.send(str(number))

    for _ in ws:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


@websocket
def room(request: Any, name: str) -> None:
    ws = request.websocket
    joined = ws.join(name, history=10, presence=True, since=(0, ""))
    ws.send_json({"missed": joined.missed, "members": hub.group(name).count()})
    for message in ws:
        hub.group(name, history=10).send(message, exclude=[ws])


@websocket
def groups(request: Any) -> None:
    """Make a row for each message, after the answer; and one at the end."""
    ws = request.websocket
    for message in ws:
        ws.send(str(Group.objects.count()))
        Group.objects.create(name=message)
    Group.objects.create(name="left")


@websocket
def taken(request: Any) -> None:
    """Meet an error of the database inside of atomic(), and go on."""
    ws = request.websocket
    for message in ws:
        try:
            with transaction.atomic():
                Group.objects.create(name=message)
                time.sleep(0.12)
                if message.startswith("undo"):
                    raise IntegrityError
        except IntegrityError:
            ws.send("refused")
        else:
            ws.send("made")


@websocket
def committed(request: Any) -> None:
    """Send when the transaction is committed."""
    ws = request.websocket
    for message in ws:
        with transaction.atomic():
            Group.objects.create(name=message)
            transaction.on_commit(lambda: done.append("committed"))
        ws.send("made")


def rest(request: Any) -> HttpResponse:
    """Send the name of the user whom REST framework has found."""
    from rest_framework.views import APIView

    class View(APIView):
        def get(self, request: Any) -> Any:
            return _name_of(request)

    response: HttpResponse = View.as_view()(request)
    return response


@websocket
def _name_of(request: Any) -> None:
    request.websocket.send(str(request.user))


@websocket
def watched(request: Any) -> None:
    """Follow the login, and check it for each message."""
    request.websocket.watch()
    for _ in request.websocket:
        request.websocket.send(str(request.websocket.recheck()))


def inline(request: Any) -> HttpResponse:
    """Use a WebSocket that a middleware has opened."""
    request.websocket.send(request.websocket.wait())
    return HttpResponse()


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


urlpatterns = [
    path("echo/", echo),
    path("classic/", classic),
    path("spoken/", spoken),
    path("about/", about),
    path("visits/", visits),
    path("fails/", fails),
    path("fails-at-the-end/", fails_at_the_end),
    path("forbids/", forbids),
    path("closes/", closes),
    path("streams/", streams),
    path("polls/", polls),
    path("hangs/", hangs),
    path("stands-still/", stands_still),
    path("slow/", slow),
    path("waits-for-another/", waits_for_another),
    path("helped/", helped),
    path("room/<name>/", room),
    path("groups/", groups),
    path("taken/", taken),
    path("committed/", committed),
    path("rest/", rest),
    path("watched/", watched),
    path("inline/", inline),
    path("plain/", plain),
]
