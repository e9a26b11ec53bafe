"""Views of the classic dialect, which the old package can run as well."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db import transaction as transactions
from django.http import HttpRequest, HttpResponse, JsonResponse

from dwebsocket.decorators import accept_websocket, require_websocket

from . import script
from .report import Report

kept: dict[str, Any] = {}


@accept_websocket
def scripted(request: HttpRequest) -> None:
    """Make the calls that the test has chosen."""
    script.run(request)


@require_websocket
def hold(request: Any) -> None:
    """Sit in wait() until the end; echo what comes meanwhile."""
    report = Report(request)
    report("open", threading.get_native_id())
    message = request.websocket.wait()
    while message is not None:
        request.websocket.send(message)
        message = request.websocket.wait()
    report("end")


@require_websocket
def deaf(request: Any) -> None:
    """Read nothing until an HTTP request on /release says so."""
    report = Report(request)
    event = kept[report.key] = threading.Event()
    report("open")
    event.wait(60)
    report("end")


def release(request: HttpRequest) -> HttpResponse:
    """Let /deaf go on."""
    kept.pop(request.GET["key"]).set()
    return HttpResponse("released")


@accept_websocket
def push(request: Any) -> None:
    """Send one message of ``?size=`` bytes, then echo the length of what comes."""
    ws = request.websocket
    size = int(request.GET["size"])
    ws.send(("0123456789abcdef" * (size // 16 + 1))[:size])
    while (message := ws.wait()) is not None:
        ws.send(str(len(message)))


@accept_websocket
def threads(request: Any) -> None:
    """Send from many threads at once."""
    ws = request.websocket
    count, each, size = (int(request.GET[n]) for n in ("threads", "each", "size"))

    def work(letter: str) -> None:
        for _ in range(each):
            ws.send(letter * size)

    workers = [
        threading.Thread(target=work, args=(chr(ord("a") + number),))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ws.send("done")
    ws.wait()


@accept_websocket
def keep(request: Any) -> None:
    """Return at once, but leave the websocket behind for /poke."""
    kept[request.GET["key"]] = request.websocket


def poke(request: HttpRequest) -> JsonResponse:
    """Use the websocket that /keep left behind."""
    ws = kept.pop(request.GET["key"])
    outcome = {"before": ws.is_closed()}
    ws.send("too late")
    ws.close()
    outcome["after"] = ws.is_closed()
    return JsonResponse(outcome)


@accept_websocket
def identity(request: Any) -> HttpResponse | None:
    """Report how the websocket and ``is_websocket`` behave as objects."""
    flag = request.is_websocket
    if not flag():
        return HttpResponse(f"{request.websocket!r} {bool(flag())}")
    ws = request.websocket
    report = Report(request)
    report(
        "identity",
        {
            "called": flag(),
            "truthy": bool(flag),
            "hash": hash(ws) == hash(ws),
            "self": ws == ws and ws in [ws] and ws in {ws},
            "other": ws == object(),
            "str": str(ws),
            "stable": str(ws) == str(ws),
            "settable": setattr(ws, "nickname", "x") is None and ws.nickname == "x",
        },
    )
    ws.wait()
    return None


def forgetful(request: Any) -> HttpResponse | None:
    """Forget the parentheses, as many programs do."""
    if not request.is_websocket:
        return HttpResponse("plain")
    request.websocket.send("websocket")
    return None


@accept_websocket
def handle(request: Any) -> None:
    """Use the old callback."""
    ws, report = request.websocket, Report(request)
    ws.handle = lambda opcode, data: report("handle", [opcode, data])
    while ws.wait() is not None:
        pass
    report("end")


@accept_websocket
def returns(request: Any) -> Any:
    """Return something that nobody must see."""
    kind = request.GET["what"]
    request.websocket.send("before")
    if kind == "response":
        return HttpResponse("<p>never</p>", status=500)
    if kind == "string":
        return "never"
    if kind == "drf":
        from rest_framework.response import Response

        return Response({"never": "rendered"})
    return None


@accept_websocket
def raises(request: Any) -> None:
    """Raise."""
    request.websocket.send("before")
    if request.GET.get("what") == "denied":
        raise PermissionDenied("not you")
    raise ZeroDivisionError("the view's own mistake")


@accept_websocket
def attributes(request: Any, room: str = "", number: int = 0) -> HttpResponse | None:
    """Report what the view sees of its request."""
    if not request.is_websocket():
        return HttpResponse("plain")
    from django.urls import reverse
    from django.utils.translation import get_language

    request.websocket.send(
        str(
            {
                "room": room,
                "number": number,
                "get": request.GET.get("x"),
                "cookie": request.COOKIES.get("taste"),
                "user": request.user.get_username(),
                "count": request.session.get("count"),
                "method": request.method,
                "path": request.path,
                "host": request.get_host(),
                "header": request.META.get("HTTP_X_TEST"),
                "language": get_language(),
                "reverse": reverse("ping"),
                "thread": threading.current_thread() is threading.main_thread(),
            }
        )
    )
    if "add" in request.GET:
        request.session["count"] = request.session.get("count", 0) + 1
    request.websocket.wait()
    return None


@accept_websocket
def query(request: Any) -> None:
    """Run a query, then wait; run another one for every message."""
    ws = request.websocket
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 40 + 2")
            ws.send(str(cursor.fetchone()[0]))
        if ws.wait() is None:
            break


@accept_websocket
def transaction(request: Any) -> None:
    """Wait inside a transaction."""
    ws = request.websocket
    with transactions.atomic():
        for _ in range(2):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                ws.send(str(cursor.fetchone()[0]))
            ws.wait()
    ws.send("committed")
    ws.wait()


@accept_websocket
def spawn(request: Any) -> None:
    """Start a process that outlives the connection."""
    report = Report(request)
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable if "python" in sys.executable else "python3", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=request.GET["close_fds"] == "1",
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it has become another program
        kept[report.key] = released = threading.Event()
        report("child", child.pid)
        request.websocket.wait()
        request.websocket.close()
        report("waiting")
        # Ends when its standard input does, which takes a request's word.
        released.wait(30)
    report("end")


@accept_websocket
def chatter(request: Any) -> None:
    """Talk without end, and never look whether anybody listens."""
    while not request.websocket.is_closed():
        request.websocket.send("chatter")


@accept_websocket
def process_id(request: Any) -> None:
    """Say which process serves, then echo."""
    request.websocket.send(str(os.getpid()))
    while (message := request.websocket.wait()) is not None:
        request.websocket.send(message)


def _in_the_child(pipe: Any, number: str) -> None:
    pipe.send(f"the child says {number}")


@accept_websocket
def multiprocess(request: Any) -> None:
    """Have a forked process answer every message."""
    fork = multiprocessing.get_context("fork")
    while (message := request.websocket.wait()) is not None:
        ours, theirs = fork.Pipe()
        number = message.decode()
        process = fork.Process(target=_in_the_child, args=(theirs, number))
        process.start()
        request.websocket.send(ours.recv())
        process.join(20)
        assert process.exitcode == 0, process.exitcode


@accept_websocket
def stubborn(request: Any) -> None:
    """Do not care about the end."""
    Report(request)("open")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.5)


@accept_websocket
def class_name(request: Any) -> None:
    """Say which class the project's factory has made."""
    request.websocket.send(type(request.websocket).__name__)
    while (message := request.websocket.wait()) is not None:
        request.websocket.send(message)
