"""A server that speaks the protocol of sessions and misbehaves when asked to."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "python/dwebsocket/static/dwebsocket/dwebsocket.js"
CHAT = ROOT / "python/dwebsocket/contrib/chat/static/dwebsocket/chat"
PUSH = ROOT / "python/dwebsocket/contrib/push/static/dwebsocket/push/push.js"
FILES = {
    "/": (Path(__file__).with_name("client.html"), "text/html"),
    "/worker.js": (Path(__file__).with_name("worker.js"), "text/javascript"),
    "/dwebsocket.js": (CLIENT, "text/javascript"),
    "/push/push.js": (PUSH, "text/javascript"),
    **{f"/chat/{path.name}": (path, "text/javascript") for path in CHAT.glob("*.js")},
}
#: Seconds for anything that takes none on a machine with nothing else to do.
PATIENCE = 20.0


@dataclass
class Group:
    """A group with everything that was ever said in it."""

    epoch: str = "e1"
    offset: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)
    members: set[ServerConnection] = field(default_factory=set)


class Fake:
    """The server. Groups whose names begin with "plain" have no history.

    It serves the page of the tests, too, so that this has an origin of its own.
    """

    def __init__(self) -> None:
        #: What it has been sent, without pings, in order.
        self.received: list[dict[str, Any]] = []
        self.pings = 0
        self.subprotocols: list[Any] = []
        self.groups: dict[str, Group] = {}
        self.connections: list[ServerConnection] = []
        #: The welcome; None: there is none.
        self.welcome: dict[str, Any] | None = {"type": "welcome", "ping": 25}
        #: Types of commands that it gives no answer to.
        self.mute: set[str] = set()
        #: The codes with which it refuses the next commands of a type.
        self.refusals: dict[str, list[str]] = {}
        #: The codes with which it closes when a command of a type comes; 1006: it cuts.
        self.ends: dict[str, int] = {}
        #: How many messages are sent again that the client has seen already.
        self.overlap = 0
        #: Whether it has lost what was missed.
        self.forgetful = False
        #: Who is in every group.
        self.present: list[dict[str, Any]] = [{"id": "m-1", "info": {"name": "Ada"}}]
        self.port = 0
        self._changed = threading.Condition()
        self._server: Server | None = None
        self._number = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> Fake:
        """Listen, the second time on the port of the first."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = serve(
            self._serve,
            sock=listener,
            process_request=self._file,
            select_subprotocol=self._select,
            close_timeout=1,
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        """Break all connections without a word, and take no new ones."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Break all connections without a word."""
        with self._changed:
            connections = list(self.connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        self.until(lambda: not any(c in self.connections for c in connections))

    def close(self, code: int, reason: str = "") -> None:
        """Close all connections with a code."""
        with self._changed:
            connections = list(self.connections)
        for connection in connections:
            connection.close(code, reason)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something is so."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), self.received
            return condition()

    def count(self, kind: str) -> int:
        """Return how many commands of a type have come."""
        return sum(command["type"] == kind for command in self.received)

    def expect(self, kind: str, number: int = 1) -> dict[str, Any]:
        """Return the nth command of a type when it has come."""
        self.until(lambda: self.count(kind) >= number)
        return [each for each in self.received if each["type"] == kind][number - 1]

    def group(self, name: str) -> Group:
        return self.groups.setdefault(name, Group())

    def publish(self, name: str, data: Any, **fields: Any) -> dict[str, Any]:
        """Send a message to a group; return its position."""
        with self._changed:
            group = self.group(name)
            frame = {"type": "message", "group": name, "data": data, **fields}
            position: dict[str, Any] = {}
            if not name.startswith("plain"):
                group.offset += 1
                position = {"offset": group.offset, "epoch": group.epoch}
                group.entries.append(frame | position)
            members = set(group.members)
            for pattern, other in self.groups.items():
                if pattern.endswith("*") and name.startswith(pattern[:-1]):
                    members |= other.members
        for member in members:
            self.send(member, frame | position)
        return position

    def tell(self, frame: dict[str, Any] | str) -> None:
        """Send a frame to every connection."""
        for connection in list(self.connections):
            self.send(connection, frame)

    def send(self, connection: ServerConnection, frame: dict[str, Any] | str) -> None:
        with contextlib.suppress(ConnectionClosed):
            connection.send(frame if isinstance(frame, str) else json.dumps(frame))

    def _select(self, connection: ServerConnection, offered: Any) -> Any:
        self.subprotocols.append(list(offered))
        return offered[0] if offered else None

    def _file(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path not in FILES:
            return None
        path, kind = FILES[request.path]
        response = connection.respond(200, path.read_text())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = f"{kind}; charset=utf-8"
        return response

    def _serve(self, connection: ServerConnection) -> None:
        with self._changed:
            self._number += 1
            me = f"m-{self._number}"
            self.connections.append(connection)
            self._changed.notify_all()
        if self.welcome is not None:
            self.send(connection, {"id": me, **self.welcome})
        try:
            for message in connection:
                self._answer(connection, json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            with self._changed:
                self.connections.remove(connection)
                for group in self.groups.values():
                    group.members.discard(connection)
                self._changed.notify_all()

    def _answer(self, connection: ServerConnection, command: dict[str, Any]) -> None:
        kind = command["type"]
        with self._changed:
            if kind == "ping":
                self.pings += 1
            else:
                self.received.append(command)
            self._changed.notify_all()
            muted = kind in self.mute
            refusals = self.refusals.get(kind) or [None]
            code = refusals.pop(0)
        if (end := self.ends.get(kind)) == 1006:
            connection.socket.shutdown(socket.SHUT_RDWR)
        elif end is not None:
            connection.close(end)
        elif muted:
            return
        elif code is not None:
            answer = {"type": "error", "code": code, "message": f"it is {code}"}
            self.send(connection, {"id": command.get("id")} | answer)
        else:
            getattr(self, f"_on_{kind}")(connection, command)

    def _on_add(self, connection: ServerConnection, command: dict[str, Any]) -> None:
        answer = {"type": "reply", "id": command["id"]}
        self.send(connection, answer | {"data": command["a"] + command["b"]})

    def _on_ping(self, connection: ServerConnection, command: dict[str, Any]) -> None:
        self.send(connection, {"type": "pong"})

    def _on_data(self, connection: ServerConnection, command: dict[str, Any]) -> None:
        self.send(connection, {"type": "data", "data": command["data"]})

    def _on_join(self, connection: ServerConnection, command: dict[str, Any]) -> None:
        name = command["group"]
        group = self.group(name)
        joined = {"type": "joined", "id": command["id"], "group": name}
        joined["recovered"] = False
        missed: list[dict[str, Any]] = []
        if not name.startswith("plain") and not name.endswith("*"):
            since = command.get("since")
            known = since and since["epoch"] in ("", group.epoch)
            if known and not self.forgetful:
                joined["recovered"] = True
                missed = group.entries[max(0, since["offset"] - self.overlap) :]
            position = {"offset": group.offset, "epoch": group.epoch}
            joined |= position | {"missed": len(missed)}
        with self._changed:
            for frame in [joined, *missed]:
                self.send(connection, frame)
            group.members.add(connection)
            self._changed.notify_all()

    def _on_leave(self, connection: ServerConnection, command: dict[str, Any]) -> None:
        self.group(command["group"]).members.discard(connection)
        self.send(connection, command | {"type": "left"})

    def _on_publish(
        self, connection: ServerConnection, command: dict[str, Any]
    ) -> None:
        position = self.publish(command["group"], command["data"])
        self.send(connection, {"type": "ack", "id": command["id"]} | position)

    def _on_members(
        self, connection: ServerConnection, command: dict[str, Any]
    ) -> None:
        found = {"members": self.present, "count": len(self.present)}
        self.send(connection, command | found)
