"""The page of a room; ``contrib.chat`` handles the messages of the room."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from dwebsocket.contrib.chat import clean_room

# Even if a name or a message got into the page as HTML, no script would run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; form-action 'self'; base-uri 'none'"
)


def lobby(request: HttpRequest) -> HttpResponse:
    return redirect("room", room="lobby")


def page(request: HttpRequest, room: str) -> HttpResponse:
    try:
        clean = clean_room(room)
    except ValueError as error:
        raise Http404(str(error)) from error
    if clean != room:
        return redirect("room", room=clean)
    response = render(request, "room.html", {"room": room})
    response["Content-Security-Policy"] = POLICY
    return response
