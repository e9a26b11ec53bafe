"""The server's half of the protocol that ``dwebsocket.js`` speaks.

    from dwebsocket import websocket
    from dwebsocket.session import Session

    class Chat(Session):
        def may_join(self, group):
            return group.startswith("chat.")

    @websocket
    def chat(request):
        Chat(request.websocket, request).run()

Both sides send JSON in text frames. The client joins and leaves groups, publishes to
them and asks for their members. After a reconnect the client says what it has seen of
each group, and gets the messages after that. The server answers each wrong command with
an error, and the client stays connected. (As everywhere, one message may have at most
``MAX_MESSAGE_SIZE`` bytes.)
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest

from . import hub
from .conf import settings
from .exceptions import ReceiveTimeout, Refused, WebSocketClosed
from .logins import rights
from .process import reporting
from .process.reporting import shown
from .process.trouble import Repeats, Trouble
from .websocket import WebSocket, endpoint, membership
from .websocket.aio import AsyncWebSocket
from .websocket.parsing import strict_json

__all__ = ("Refused", "Session")

logger = logging.getLogger("dwebsocket.session")

trouble = Trouble(logger, "may_join() failed when it was asked again")
away = Trouble(logger, "The database failed a session")
repeats = Repeats()

#: Points that joining a group again costs: all members may be told of the join.
REJOIN = 20
#: This many bytes of a publish count as one more command.
WEIGHT = 16_384
#: This many values of a message (its commas and brackets) count as one more command:
#: parsing 1 MiB of them takes up to a second, in which no other view can run.
VALUES = 2_048
#: The most commands that the values of one message count as.
MAX_WORK = 400
#: The most group names that are remembered for one client.
MAX_KNOWN = 1_000


class _Points:
    """The points that a client may spend."""

    __slots__ = ("_burst", "_left", "_rate", "_then")

    def __init__(self, rate: float | None, burst: float) -> None:
        self._rate = rate
        self._burst = self._left = float(burst)
        self._then = time.monotonic()

    def spend(self, points: float) -> float:
        """Spend points; return the seconds until the client has earned them."""
        if self._rate is None:
            return 0
        now = time.monotonic()
        earned = (now - self._then) * self._rate
        self._left = min(self._left + earned, self._burst) - points
        self._then = now
        return max(-self._left, 0) / self._rate


class Session:
    """One client that speaks the protocol; a subclass decides what is allowed.

    Args:
        websocket: The WebSocket of a synchronous view.
        request: The request that opened the WebSocket.

    Raises:
        TypeError: The WebSocket is that of an asynchronous view.
    """

    #: Seconds of silence after which the client pings the server.
    ping = membership.HEARTBEAT
    #: The most groups that one client may be in.
    max_groups = 100
    #: Commands that are carried out each second for a client that goes on sending them;
    #: None: no limit.
    rate: float | None = 50.0
    #: Commands that are carried out at once: enough for a page that joins all of its
    #: groups again and sends the 256 commands that dwebsocket.js keeps meanwhile.
    burst = 400
    #: Whether the client may join "prefix*", which means every group whose name begins
    #: with the prefix. may_join() gets the name with the star then, and must decide for
    #: all of these groups.
    patterns = False
    #: Seconds between two checks that the user is still logged in and active, and that
    #: may_join() still allows each of the client's groups. None: no checks. The setting
    #: RECHECK_INTERVAL and the decorator's argument take precedence.
    recheck: float | None = 30.0
    #: Points that a client earns each second for commands that cause work for others,
    #: and the most points that it may save up. A join costs 1, but REJOIN for a group
    #: that the client is or was in; a leave costs 1; an answer to "members" costs 1 and
    #: another for each 50 members in it. A client without points has to wait. None: no
    #: limit.
    membership_rate: float | None = 5.0
    membership_burst = 400
    #: The most members that an answer to "members" lists; its count is of all members.
    max_members = 1_000

    def __init__(self, websocket: WebSocket[Any], request: HttpRequest) -> None:
        if isinstance(websocket, AsyncWebSocket):
            raise TypeError(
                "a Session needs a synchronous view: write 'def', not 'async def'. (In "
                "an async view, use a WebSocketView.)"
            )
        self.websocket = websocket
        self.request = request
        self._credit = float(self.burst)
        self._counted = time.monotonic()
        self._membership = _Points(self.membership_rate, self.membership_burst)
        #: The groups that the client has joined, and when may_join() was last asked.
        self._asked: dict[str, float] = {}
        #: Groups that the client is or was in. With MAX_KNOWN of them, each join costs
        #: REJOIN.
        self._known: set[str] = set()
        self._interval: float | None = None
        self._reviewed = time.monotonic()
        self._commands: dict[str, Callable[[dict[str, Any]], None]] = {
            "join": self._join,
            "leave": self._leave,
            "publish": self._publish,
            "members": self._members,
            "ping": lambda command: self.send({"type": "pong"}),
            "data": lambda command: self.on_data(command.get("data")),
        }

    def may_join(self, group: str) -> bool:
        """Return whether the client may be in a group and list its members.

        By default, a client may be in no group.
        """
        return False

    def may_publish(self, group: str, data: Any) -> bool:
        """Return whether the client, a member of the group, may publish this."""
        return True

    def info(self, group: str) -> Any:
        """Return what the other members see of this client."""
        user = getattr(self.request, "user", None)
        return {"name": str(user)} if user is not None else {}

    def group(self, name: str) -> hub.Group:
        """Return the group that this session joins and sends to.

        By default, the group's options are those of the setting ``GROUPS``.
        """
        return hub.group(name)

    def on_publish(self, group: str, data: Any) -> Any:
        """Return the data that is sent to the group in place of the client's data.

        Raises:
            Refused: Nothing is sent to the group.
        """
        return data

    def on_open(self) -> None:
        """Begin: the client has been welcomed, and none of its commands has been read.

        This is the place to join groups for the client, which takes no message before
        the welcome.
        """

    def on_data(self, data: Any) -> None:
        """Receive data that the client has sent to the server's application."""

    def send(self, frame: dict[str, Any]) -> None:
        """Send one frame of the protocol."""
        self.websocket.send(hub.to_json(frame), False)

    def send_data(self, data: Any) -> None:
        """Send data to the client's application."""
        self.send({"type": "data", "data": data})

    def run(self) -> None:
        """Serve the client until the connection ends."""
        self._begin_watch()
        self.send(membership.welcome(endpoint.of(self.websocket), self.ping))
        self._open()
        while True:
            try:
                message = self._next()
            except WebSocketClosed:
                return
            self._answer(message)

    def _open(self) -> None:
        """Call the hook; close the connection if it fails."""
        try:
            self.on_open()
        except WebSocketClosed:
            raise
        except (Refused, PermissionDenied) as error:
            self.websocket.close(1008, str(error))
        except Exception as error:
            if self._is_away(error):
                self.websocket.close(1013, "try again later")
            else:
                self._report(error)
                self.websocket.close(1011)

    def _begin_watch(self) -> None:
        known = endpoint.of(self.websocket).rights
        if known is None or known.never:
            return
        if known.interval is None and self.recheck:
            self.websocket.watch(self.recheck)
        self._interval = known.interval

    def _next(self) -> str | bytes:
        """Return the next message; do what is due meanwhile."""
        while True:
            left = self._rest()
            with contextlib.suppress(ReceiveTimeout):
                message: str | bytes = self.websocket.receive(left)
                return message

    def _rest(self) -> float | None:
        """Do what is due; return the seconds until something is due again, if any.

        The client's groups are reviewed.
        """
        if self._interval is None:
            return None
        left = self._reviewed + self._interval - time.monotonic()
        if left <= 0:
            self._review()
            return self._interval
        return left

    def _review(self) -> None:
        """Remove the client from the groups that it may no longer be in."""
        self._reviewed = time.monotonic()
        known = endpoint.of(self.websocket).rights
        if known is not None:
            # The user as the watcher has read it.
            rights.renew(self.request, known.user)
        for group in list(self._asked):
            if not self._may_stay(group):
                self._remove(group)

    def _refresh(self) -> None:
        """Read the user again, if the latest check was too long ago.

        Raises:
            WebSocketClosed: The login has ended.
        """
        known = endpoint.of(self.websocket).rights
        if known is None or known.interval is None:
            return
        if time.monotonic() - known.tried >= settings.USER_MAX_AGE:
            if not self.websocket.recheck():
                raise WebSocketClosed(rights.LOGGED_OUT, self.websocket.close_reason)
            rights.renew(self.request, known.user)

    def _may_stay(self, group: str) -> bool:
        self._asked[group] = time.monotonic()
        try:
            return bool(self.may_join(group))
        except (PermissionDenied, Refused):
            return False
        except Exception as error:
            # The database is away, say: the client stays in the group.
            trouble.note(error)
            return True

    def _remove(self, group: str) -> None:
        self._asked.pop(group, None)
        if self.websocket.leave(group):
            self.send({"type": "removed", "group": group})

    def _must_be_in(self, group: str) -> None:
        """Make sure that the client is in a group, and may still be in it.

        Raises:
            Refused: The client is not in the group, or may not be in it any longer.
        """
        if group not in self.websocket.groups:
            raise Refused("forbidden", "join the group first")
        asked = self._asked.get(group)
        if asked is None or self._interval is None:
            return
        age = time.monotonic() - asked
        if age >= settings.USER_MAX_AGE and not self._may_stay(group):
            self._remove(group)
            raise Refused("forbidden", "you may not be in this group any longer")

    def _answer(self, message: str | bytes) -> None:
        number: Any = None
        # An error here is no fault of the message: it ends the session.
        self._pace(_work(message))
        try:
            command = _parse(message)
            number = command.get("id")
            action = self._command(command)
            if command["type"] == "publish":
                # All members get the message: a long one counts as several commands.
                self._credit -= len(message) / WEIGHT
            if command["type"] != "ping":
                self._refresh()
            action(command)
        except WebSocketClosed:
            raise
        except Refused as error:
            self._error(number, error.code, error.message)
        except PermissionDenied as error:
            self._error(number, "forbidden", str(error) or "not allowed")
        except Exception as error:
            if self._is_away(error):
                self._error(number, "unavailable", "not possible now; try again")
                return
            self._report(error)
            code = "invalid" if isinstance(error, ValueError) else "failed"
            self._error(number, code, "the server could not do this")

    def _is_away(self, error: Exception) -> bool:
        """Return whether the broker or the database is away; log it then."""
        if isinstance(error, hub.BrokerError):
            # The error names servers, which visitors must not see.
            logger.warning(
                "The broker failed the session at %s: %s",
                shown(self.request.path),
                error,
                extra={"request": self.request},
            )
            return True
        if isinstance(error, OperationalError | InterfaceError):
            # The database is away, or has no connection left for all the clients that
            # have come back at once: it serves this one a moment later.
            away.note(error)
            return True
        return False

    def _report(self, error: Exception) -> None:
        """Report an exception of a hook, unless many like it were reported just now."""
        # After a restart, every page joins again, and again if a hook has failed.
        skipped = repeats.skipped(error)
        if skipped is None:
            return
        message, words = "Error in the session of %s", [self.request.path]
        if skipped:
            message += ", after %s more that were not reported"
            words.append(f"{skipped:,}")
        reporting.report(logger, message, *words, request=self.request)

    def _pace(self, work: float) -> None:
        """Wait until a command may be carried out; it counts as ``1 + work`` commands.

        The command waits and is not refused, because a page could not handle a refusal.
        Nothing is read meanwhile, so TCP slows the client down.
        """
        if self.rate is None:
            return
        now = time.monotonic()
        earned = (now - self._counted) * self.rate
        left = min(self._credit + earned, float(self.burst))
        self._credit = left - 1 - min(work, MAX_WORK)
        self._counted = now
        if self._credit < 0:
            time.sleep(-self._credit / self.rate)

    def _spend(self, points: float) -> None:
        """Spend points on work for others; wait until the client has earned them."""
        left = self._membership.spend(points)
        while left > 0 and not endpoint.of(self.websocket).connection.ended:
            time.sleep(min(left, 0.25))
            left -= 0.25

    def _error(self, number: Any, code: str, message: str) -> None:
        self.send({"type": "error", "id": number, "code": code, "message": message})

    def _command(self, command: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
        kind = command.get("type")
        found = self._commands.get(kind) if isinstance(kind, str) else None
        if found is None:
            known = ", ".join(self._commands)
            raise Refused("invalid", f"unknown type; the known types are: {known}")
        return found

    def _join(self, command: dict[str, Any]) -> None:
        self._spend(self._price(_name(command)))
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
        self._asked[group] = time.monotonic()
        if len(self._known) < MAX_KNOWN:
            self._known.add(group)

    def _price(self, group: str) -> float:
        known = group in self._known or len(self._known) >= MAX_KNOWN
        return REJOIN if known else 1

    def _leave(self, command: dict[str, Any]) -> None:
        group = _name(command)
        self._spend(1)
        self._asked.pop(group, None)
        with _names():
            self.websocket.leave(group, reply=command.get("id"))

    def _publish(self, command: dict[str, Any]) -> None:
        group = _name(command)
        self._must_be_in(group)
        data = command.get("data")
        if not self.may_publish(group, data):
            raise Refused("forbidden", "you may not publish here")
        data = self.on_publish(group, data)
        with _names():
            # This also refuses numbers that JSON cannot express (1e999).
            published = self.group(group).send_json(data)
        if published.broker == "unavailable":
            raise Refused("unavailable", "not all members can be reached; try again")
        answer = {"type": "ack", "id": command.get("id")}
        if published.epoch:
            answer |= {"offset": published.offset, "epoch": published.epoch}
        self.send(answer)

    def _members(self, command: dict[str, Any]) -> None:
        self._spend(1)
        group = self._allowed(command)
        with _names():
            found = self.group(group).members()
        members = [member._asdict() for member in found[: self.max_members]]
        self.send(
            {
                "type": "members",
                "id": command.get("id"),
                "group": group,
                "count": len(found),
                "members": members,
            }
        )
        # The next command waits until these points are earned.
        self._spend(len(members) / 50)

    def _allowed(self, command: dict[str, Any]) -> str:
        group = _name(command)
        if group.endswith("*") and not self.patterns:
            raise Refused("forbidden", "a group's full name is needed")
        if not self.may_join(group):
            raise Refused("forbidden", "you may not join this group")
        return group


@contextlib.contextmanager
def _names() -> Iterator[None]:
    """Report values that the hub does not accept as the client's mistake."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise Refused("invalid", str(error)) from error


def _work(message: str | bytes) -> float:
    """Return how many more commands the parsing of a message counts as."""
    if len(message) < VALUES:
        return 0
    if isinstance(message, str):
        values = sum(map(message.count, ",[{"))
    else:
        values = sum(map(message.count, (b",", b"[", b"{")))
    return values / VALUES


def _parse(message: str | bytes) -> dict[str, Any]:
    try:
        command = strict_json(message)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid", f"not JSON: {error}") from error
    if not isinstance(command, dict):
        raise Refused("invalid", "a JSON object is needed")
    number = command.get("id")
    if not isinstance(number, int | str | None):
        raise Refused("invalid", "an id is a number or a string")
    if number is not None and len(str(number)) > 64:
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
    raise Refused("invalid", "was is an array of ids from welcome frames")
