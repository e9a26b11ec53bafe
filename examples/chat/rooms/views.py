"""The page of a room, and the plain synchronous view that its WebSocket talks to."""

from __future__ import annotations

import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from dwebsocket import websocket
from rooms import text
from rooms.hub import Member, hub
from rooms.text import Refused

JOIN_TIMEOUT = 10  # seconds that a page may take to say who it is
REFUSED = 4000  # close code: not let in; the page asks again instead of coming back

# Even if a name or message ever got into the page as HTML, no script would run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; form-action 'self'; base-uri 'none'"
)


def lobby(request: HttpRequest) -> HttpResponse:
    return redirect("room", room=text.LOBBY)


def page(request: HttpRequest, room: str) -> HttpResponse:
    try:
        clean = text.clean_room(room)
    except Refused as refused:
        raise Http404(f"There is no room of this name ({refused.code}).") from refused
    if clean != room:
        return redirect("room", room=clean)
    limits = {"name": text.NAME_LENGTH, "message": text.MESSAGE_LENGTH}
    response = render(request, "rooms/room.html", {"room": room, "limits": limits})
    response["Content-Security-Policy"] = POLICY
    return response


@websocket(overflow="close")
def talk(request: HttpRequest, room: str) -> HttpResponse | None:
    if not request.is_websocket():
        return HttpResponse("This address is for WebSockets.\n", status=426)
    member = enter(request.websocket, room)
    if member is None:
        return None
    try:
        for received in request.websocket:
            answer(member, received)
    finally:
        hub.leave(member)
    return None


def enter(socket: Any, room: str) -> Member | None:
    """Wait for the page to say who it is, and let it in or tell it why not."""
    received = socket.wait(timeout=JOIN_TIMEOUT)
    if received is None:
        return None  # gone, or silent
    hello = parsed(received)
    try:
        name = text.clean_name(hello.get("name"))
        key = text.clean_id(hello.get("key"))
        return hub.join(socket, text.clean_room(room), name, key)
    except Refused as refused:
        socket.send_json({"type": "refused", "code": refused.code, **refused.details})
        socket.close(REFUSED, refused.code)
        return None


def answer(member: Member, received: str | bytes) -> None:
    """Do what the page asks for; a wish that cannot be granted is answered with why."""
    event = parsed(received)
    message_id = ""
    try:
        match event.get("type"):
            case "message":
                message_id = text.clean_id(event.get("id"))
                hub.say(member, message_id, text.clean_message(event.get("text")))
            case "typing":
                hub.typing(member)
            case "ping":
                member.tell(type="pong")
            case _:
                raise Refused("bad-request")
    except Refused as refused:
        member.tell(type="error", id=message_id, code=refused.code, **refused.details)


def parsed(received: str | bytes | None) -> dict[str, Any]:
    """Return the JSON object that a page sent; an empty one for anything else."""
    try:
        value = json.loads(received or "")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
