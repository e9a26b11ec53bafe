"""URLs of what the old package can serve as well."""

from __future__ import annotations

from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from dwebsocket.decorators import accept_websocket

from . import classic, plain, tutorial

urlpatterns = [
    path("ping", plain.ping, name="ping"),
    path("info", plain.info),
    path("big", plain.big),
    path("streamed", plain.streamed),
    path("upload", plain.upload),
    path("login", plain.login),
    path("logout", plain.logout),
    path("session", plain.session),
    path("undecorated", plain.undecorated),
    path("marked", plain.marked),
    path("attributes", plain.attributes),
    path("echo", tutorial.echo),
    path("exempt", csrf_exempt(tutorial.echo)),
    path("chat", tutorial.chat),
    path("members", tutorial.members),
    path("script", classic.scripted),
    path("hold", classic.hold),
    path("deaf", classic.deaf),
    path("release", classic.release),
    path("push", classic.push),
    path("threads", classic.threads),
    path("keep", classic.keep),
    path("poke", classic.poke),
    path("identity", classic.identity),
    path("forgetful", accept_websocket(classic.forgetful)),
    path("handle", classic.handle),
    path("returns", classic.returns),
    path("raises", classic.raises),
    path("room/<str:room>/<int:number>", classic.attributes),
    path("class-name", classic.class_name),
    path("query", classic.query),
    path("transaction", classic.transaction),
    path("chatter", classic.chatter),
    path("pid", classic.process_id),
    path("multiprocessing", classic.multiprocess),
    path("spawn", classic.spawn),
    path("stubborn", classic.stubborn),
]
