"""The server's half of the protocol that ``dwebsocket.js`` speaks.

    from dwebsocket import websocket
    from dwebsocket.session import Session

    class Chat(Session):
        def may_join(self, group):
            return group.startswith("chat.")

    @websocket
    def chat(request):
        Chat(request.websocket, request).run()

JSON text frames both ways: the client joins and leaves groups, publishes to them and
asks who is there; after a reconnect it says what it has seen of each group, and gets
the rest. Whatever a client sends, it gets an answer, and stays connected. (One message
may have ``MAX_MESSAGE_SIZE`` bytes, as everywhere.)
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from . import hub, reporting
from .exceptions import WebSocketClosed
from .websocket import WebSocket

__all__ = ("Refused", "Session")

logger = logging.getLogger("dwebsocket.session")


class Refused(Exception):
    """A request of the client's cannot be met; it learns the code and the message.

    Args:
        code: "forbidden", "invalid", "too_many" or "unavailable".
        message: What to do about it, in words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Session:
    """One client that speaks the protocol; subclass it to say what is allowed.

    Args:
        websocket: The WebSocket.
        request: The request that opened it.
    """

    #: Seconds of silence after which the client makes sure that the server is there.
    ping = 25.0
    #: Groups that one client may be in.
    max_groups = 100
    #: Commands a second that are carried out for a client that goes on sending them;
    #: None: as many as it likes.
    rate: float | None = 50.0
    #: Commands that are carried out at once: enough for a page that comes back to all
    #: of its groups, with the 256 commands that dwebsocket.js keeps meanwhile.
    burst = 400
    #: Whether it may join "prefix*", which is every group that begins so. may_join()
    #: then gets that name, star and all, and must think of every group it stands for.
    patterns = False

    def __init__(self, websocket: WebSocket, request: HttpRequest) -> None:
        self.websocket = websocket
        self.request = request
        self._credit = float(self.burst)
        self._counted = time.monotonic()
        self._commands: dict[str, Callable[[dict[str, Any]], None]] = {
            "join": self._join,
            "leave": self._leave,
            "publish": self._publish,
            "members": self._members,
            "ping": lambda command: self.send({"type": "pong"}),
            "data": lambda command: self.on_data(command.get("data")),
        }

    def may_join(self, group: str) -> bool:
        """Return whether the client may be in a group and see who is; by default no."""
        return False

    def may_publish(self, group: str, data: Any) -> bool:
        """Return whether the client may publish this; it is in the group already."""
        return True

    def info(self, group: str) -> Any:
        """Return what the other members see of this one."""
        user = getattr(self.request, "user", None)
        return {"name": str(user)} if user is not None else {}

    def group(self, name: str) -> hub.Group:
        """Return a group as this session joins it and sends to it.

        By default, what it keeps is as the settings have it (``GROUPS``).
        """
        return hub.group(name)

    def on_publish(self, group: str, data: Any) -> Any:
        """Return what goes to the group instead of what the client has sent.

        Raises:
            Refused: It does not go.
        """
        return data

    def on_data(self, data: Any) -> None:
        """Take what the client's application has sent to the server's."""

    def send(self, frame: dict[str, Any]) -> None:
        """Send one frame of the protocol."""
        self.websocket.send(hub.to_json(frame), False)

    def send_data(self, data: Any) -> None:
        """Send something to the client's application."""
        self.send({"type": "data", "data": data})

    def run(self) -> None:
        """Serve the client until it goes."""
        self.websocket._connection.envelop()
        self.send(
            {"type": "welcome", "id": self.websocket.member_id, "ping": self.ping}
        )
        while True:
            try:
                message = self.websocket.receive()
            except WebSocketClosed:
                return
            self._answer(message)

    def _answer(self, message: str | bytes) -> None:
        number: Any = None
        try:
            self._pace()
            command = _parse(message)
            number = command.get("id")
            self._command(command)(command)
        except WebSocketClosed:
            raise
        except Refused as error:
            self._error(number, error.code, error.message)
        except PermissionDenied as error:
            self._error(number, "forbidden", str(error) or "not allowed")
        except hub.BrokerError as error:
            # What it says of the servers is not for visitors.
            logger.warning("A client's command had to wait: %s", error)
            self._error(number, "unavailable", "not possible now; try again")
        except Exception:
            reporting.report(
                logger,
                "Error in the session of %s",
                self.request.path,
                request=self.request,
            )
            self._error(number, "invalid", "the server could not do this")

    def _pace(self) -> None:
        """Wait until this command may be carried out.

        Not refused: a page could not tell what to do about it. Nothing is read
        meanwhile, so that TCP slows the client down.
        """
        if self.rate is None:
            return
        now = time.monotonic()
        earned = (now - self._counted) * self.rate
        self._credit = min(self._credit + earned, float(self.burst)) - 1
        self._counted = now
        if self._credit < 0:
            time.sleep(-self._credit / self.rate)

    def _error(self, number: Any, code: str, message: str) -> None:
        self.send({"type": "error", "id": number, "code": code, "message": message})

    def _command(self, command: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
        found = self._commands.get(str(command.get("type")))
        if found is None:
            known = ", ".join(self._commands)
            raise Refused("invalid", f"unknown type; these are known: {known}")
        return found

    def _join(self, command: dict[str, Any]) -> None:
        group = self._allowed(command)
        groups = self.websocket.groups
        if group not in groups and len(groups) >= self.max_groups:
            raise Refused("too_many", f"at most {self.max_groups} groups at a time")
        since, was = _since(command.get("since")), _was(command.get("was"))
        info, number = self.info(group), command.get("id")
        with _names():
            options = self.group(group).options
            self.websocket.join(
                group,
                since=since,
                was=was,
                history=options.history,
                ttl=options.ttl,
                presence=options.presence,
                info=info,
                reply=number,
            )

    def _leave(self, command: dict[str, Any]) -> None:
        group = _name(command)
        with _names():
            self.websocket.leave(group, reply=command.get("id"))

    def _publish(self, command: dict[str, Any]) -> None:
        group = _name(command)
        if group not in self.websocket.groups:
            raise Refused("forbidden", "join the group first")
        data = command.get("data")
        if not self.may_publish(group, data):
            raise Refused("forbidden", "you may not publish here")
        data = self.on_publish(group, data)
        with _names():
            # Numbers that JSON has no form for (1e999) are refused here, too.
            published = self.group(group).send_json(data)
        if published.broker == "unavailable":
            raise Refused("unavailable", "not everybody can be reached now; try again")
        answer = {"type": "ack", "id": command.get("id")}
        if published.epoch:
            answer |= {"offset": published.offset, "epoch": published.epoch}
        self.send(answer)

    def _members(self, command: dict[str, Any]) -> None:
        group = self._allowed(command)
        with _names():
            found = self.group(group).members()
        members = [member._asdict() for member in found]
        self.send(
            {
                "type": "members",
                "id": command.get("id"),
                "group": group,
                "count": len(members),
                "members": members,
            }
        )

    def _allowed(self, command: dict[str, Any]) -> str:
        group = _name(command)
        if group.endswith("*") and not self.patterns:
            raise Refused("forbidden", "a group's full name is needed")
        if not self.may_join(group):
            raise Refused("forbidden", "you may not join this group")
        return group


@contextlib.contextmanager
def _names() -> Iterator[None]:
    """Take what the hub does not accept for the client's mistake."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise Refused("invalid", str(error)) from error


def _no_constant(name: str) -> Any:
    # Python's own extension: other clients' JSON.parse() would stumble over it.
    raise ValueError(f"{name} is not a JSON value")


def _parse(message: str | bytes) -> dict[str, Any]:
    try:
        command = json.loads(message, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid", f"not JSON: {error}") from error
    if not isinstance(command, dict):
        raise Refused("invalid", "a JSON object is needed")
    if not isinstance(command.get("id"), int | str | None):
        command.pop("id")
        raise Refused("invalid", "an id is a number or a string")
    if len(str(command.get("id"))) > 64:
        raise Refused("invalid", "an id has at most 64 characters")
    return command


def _name(command: dict[str, Any]) -> str:
    group = command.get("group")
    if not isinstance(group, str):
        raise Refused("invalid", "the group's name is needed")
    return group


def _since(since: Any) -> tuple[int, str] | None:
    if since is None:
        return None
    if isinstance(since, dict):
        offset, epoch = since.get("offset"), since.get("epoch")
        if type(offset) is int and 0 <= offset < 1 << 63 and isinstance(epoch, str):
            return offset, epoch
    raise Refused("invalid", "since is an object with an offset and an epoch")


def _was(was: Any) -> list[str]:
    if was is None:
        return []
    if isinstance(was, list) and all(isinstance(one, str) for one in was):
        return was
    raise Refused("invalid", "was is an array of ids that welcome frames had")
