"""The WebSocket of a synchronous view."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

from dwebsocket import _engine, hub, signals
from dwebsocket._engine import Joined
from dwebsocket.conf import arguments
from dwebsocket.conf.arguments import Seconds, seconds
from dwebsocket.exceptions import ReceiveTimeout
from dwebsocket.hub import Member
from dwebsocket.hub.messages import to_json
from dwebsocket.logins import following, rights
from dwebsocket.process import databases
from dwebsocket.signals import emit, websocket_message

from . import membership
from .base import BaseWebSocket, Data, Received
from .dialects import CLASSIC, MODERN
from .endpoint import Endpoint
from .parsing import strict_json
from .pending import Headers, accepting
from .port import Port
from .unopened import Unopened

if TYPE_CHECKING:
    from dwebsocket.conf.view_options import Overflow

__all__ = ("Data", "WebSocket")

#: The longest that poll() waits, in milliseconds.
_POLL_LIMIT = 2**31 - 1

_in_use = databases.in_use.get


class WebSocket(BaseWebSocket[Received]):
    """One connection, in one of two dialects.

    The classic dialect is that of dwebsocket: text arrives as ``bytes``, and the
    conversation ends with one None; asking for more raises :exc:`EOFError`. In the
    modern dialect, text arrives as ``str``, and ``wait()`` returns None from the end
    on. :meth:`receive` is the same in both dialects and never ambiguous.

    For type checkers, ``WebSocket`` speaks the modern dialect, ``WebSocket[bytes]`` the
    classic one, and ``WebSocket[Any]`` either.

    A WebSocket may be used from any thread, also after the view has returned.
    Attributes can be set on it. It hashes and compares by identity.

    Args:
        connection: The engine's connection.
        modern: Speak the modern dialect; False: the classic one.
        overflow: What a full outbox does (see the setting ``OVERFLOW``).
        send_timeout: Seconds that a send from the view itself waits for room.
        subprotocol: The negotiated subprotocol; None if there is none.
        remote_address: The client's address and port.
        port: Receives and sends cooperatively (gevent); None: block the thread.
    """

    __slots__ = ()

    def __init__(
        self,
        connection: _engine.Connection,
        *,
        modern: bool = False,
        overflow: str = "auto",
        send_timeout: float = 30.0,
        subprotocol: str | None = None,
        remote_address: tuple[str, int] = ("", 0),
        port: Port | None = None,
    ) -> None:
        dialect = MODERN if modern else CLASSIC
        self._endpoint = Endpoint(connection, dialect, port)
        self._overflow = overflow
        self._send_timeout = send_timeout
        self._protocol = None
        self.handle = None
        self.subprotocol = subprotocol
        self.remote_address = remote_address

    def accept(
        self, subprotocol: str | None = None, headers: Headers | None = None
    ) -> None:
        """Open the WebSocket, in a view with ``accept="manual"``.

        The response with the status 101 passes through the middleware, and is sent.
        Before, the view has nothing to receive from or to send to; it may return a
        response instead of the call. Call this in the view's own thread.

        Args:
            subprotocol: One of those that the client offers; "": none; None: what the
                decorator's ``subprotocols`` choose.
            headers: More headers of the 101, such as ``Set-Cookie``: a dict, or pairs.

        Raises:
            RuntimeError: The WebSocket is open already; or the view has called this too
                late (``ACCEPT_TIMEOUT``), or inside of ``transaction.atomic()``.
            ValueError, TypeError: The client does not offer this subprotocol, or a
                header is wrong.
            WebSocketClosed: A middleware has refused the WebSocket, or the client has
                gone. A view need not catch this.
        """
        accepting(self._endpoint).accept(self, subprotocol, headers)

    def wait(self, timeout: Seconds | None = None) -> Received | None:
        """Return the next message; block until there is one.

        Args:
            timeout: Seconds to wait at most, any real number; None, less than 0 or
                infinity: no limit.

        Returns:
            The message; None after the timeout, and at the end.

        Raises:
            TypeError, ValueError: The timeout is not a number, or nan.
            EOFError: In the classic dialect, on a further call after the end.
        """
        if timeout is not None:
            timeout = seconds(timeout)
        endpoint = self._endpoint
        if endpoint.closed:
            return self._meet_end(endpoint.dialect.wait, None)
        # Called as a variable, since Python looks up an attribute faster than a method.
        receive = endpoint.receive
        message: Received | None = (
            databases.receive(receive, timeout) if _in_use() else receive(timeout)
        )
        if message is None:
            if timeout is not None and not endpoint.has_ended():
                return None
            message = endpoint.late()
            if message is None:
                return self._meet_end(endpoint.dialect.wait, None)
        elif self.handle is None and not websocket_message.receivers:
            return message
        self._note_message(message)
        return message

    def receive(self, timeout: Seconds | None = None) -> Received:
        """Return the next message; block until there is one.

        Raises:
            WebSocketClosed: The connection is closed and every message was read.
            ReceiveTimeout: (a TimeoutError) No message came within ``timeout`` seconds.
        """
        if timeout is not None:
            timeout = seconds(timeout)
        endpoint = self._endpoint
        if not endpoint.closed:
            message: Received | None
            if _in_use():
                message = databases.receive(endpoint.receive, timeout)
            else:
                message = endpoint.receive(timeout)
            if message is None and timeout is not None and endpoint.connection.ended:
                message = endpoint.receive(0)
            if message is not None:
                if websocket_message.receivers:
                    emit(websocket_message, self, message=message)
                return message
            if not endpoint.has_ended():
                raise ReceiveTimeout(f"no message within {timeout} seconds")
        raise endpoint.closed_error()

    def receive_json(self, timeout: Seconds | None = None) -> Any:
        """Return the next message, parsed as JSON.

        Raises:
            WebSocketClosed, ReceiveTimeout: As :meth:`receive` does.
            ValueError: The message is not JSON, or nested deeper than 128 levels.
        """
        message: Any = self.receive(timeout)
        return strict_json(message)

    def can_read(self, timeout: Seconds | None = 0.0) -> bool:
        """Return whether a message or the end arrives within ``timeout`` seconds."""
        timeout = seconds(timeout)
        endpoint = self._endpoint
        if endpoint.has_ended() or endpoint.connection.pending:
            return True
        poll = select.poll()
        poll.register(endpoint.connection.fileno(), select.POLLIN)
        limit = None if timeout is None else min(timeout * 1000, _POLL_LIMIT)
        return bool(poll.poll(limit))

    @overload
    def __iter__(self: WebSocket[bytes]) -> Iterator[bytes | None]: ...
    @overload
    def __iter__(self) -> Iterator[Received]: ...
    def __iter__(self) -> Iterator[Any]:
        """Yield messages until the end (classic dialect: and the final None)."""
        wait = self.wait
        while True:
            message = wait()
            if message is None:
                if self._endpoint.dialect.yields_end:
                    yield None
                return
            yield message

    def __aiter__(self) -> Any:
        """Refuse: this WebSocket belongs to a synchronous view.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "this WebSocket belongs to a synchronous view, which iterates by 'for'; "
            "'async for' needs an async view ('async def')"
        )

    def send(
        self,
        message: Data,
        binary: bool | None = None,
        *,
        overflow: Overflow | None = None,
        timeout: Seconds | None = None,
    ) -> bool:
        """Send a message; on a closed connection do nothing.

        Args:
            message: ``str`` is sent as text. ``bytes`` are sent as binary in the modern
                dialect; in the classic one as text if they are valid UTF-8. Halves of
                surrogate pairs become U+FFFD, as when a browser sends them.
            binary: True: send as a binary message; False: as text, whatever the type.
            overflow: What a full outbox does; overrides the setting ``OVERFLOW``.
            timeout: Seconds that this send waits for room; overrides ``SEND_TIMEOUT``.
                Less than 0, or infinity: no limit.

        Returns:
            Whether the message was accepted for sending.

        Raises:
            TypeError: The message is neither str nor bytes.
        """
        endpoint = self._endpoint
        if binary is None and message.__class__ is not str:
            binary = self._binary(message, None)
        try:
            if overflow is None and timeout is None:
                offer = endpoint.offer
                if offer(message, binary, "refuse"):
                    return True
            return self._send_full(message, binary, overflow or self._overflow, timeout)
        except (TypeError, UnicodeEncodeError):
            mended = arguments.message(message)
            if mended is message:
                raise
        return self.send(mended, binary, overflow=overflow, timeout=timeout)

    def send_json(self, data: Any, **kwargs: Any) -> bool:
        """Send ``data`` as JSON text.

        Args:
            data: Anything that Django's JSON encoder can encode.
            kwargs: Arguments of :func:`json.dumps`.

        Raises:
            TypeError: ``data`` has a value that JSON cannot express.
            ValueError: ``data`` has a number that JSON cannot express (``nan``,
                ``inf``).
        """
        return self.send(to_json(data, **kwargs), False)

    def join(
        self,
        group: str,
        *,
        since: tuple[int, str] | None = None,
        history: int | None = None,
        ttl: float | None = None,
        presence: bool | None = None,
        info: Any = None,
        envelope: bool = False,
        was: Iterable[str] = (),
        reply: Any = None,
    ) -> Joined:
        """Become a member of a group; the membership ends with the connection.

        Args:
            group: The group's name. A name that ends in ``*`` stands for every group
                whose name begins with the part before the star.
            since: The offset and epoch of the latest message that the client has seen
                (a pair, or a :class:`~dwebsocket.hub.Position`): the client gets the
                messages after it. ``(0, "")``: all messages that the group keeps.
            history: How many messages the group keeps; overrides the setting.
            ttl: Seconds that the group keeps them; overrides the setting.
            presence: Whether the other members see this member; overrides the setting.
            info: What the other members see of this member: anything that JSON can
                express, in at most 64 KiB (65,536 bytes of JSON) and 64 levels.
            envelope: From now on, messages from groups are wrapped in the JSON that
                ``dwebsocket.js`` speaks, with the group and the position.
            was: The ``member_id`` values of the client's earlier connections (of more
                than 16, the last 16 count). Messages that exclude one of them
                (``exclude=``) are not sent.
            reply: The number of the client's request; a "joined" frame answers it.

        Returns:
            The position of the group, and whether every missed message was sent.

        Raises:
            ValueError: The name breaks the rules, an option or ``since`` is out of
                range, or ``info`` is too large or too deep.
            TypeError: The name is not a str, ``since`` is not a position, ``was``
                has a value that is not an id, or JSON cannot express ``info``.
            WebSocketClosed: The connection has ended.
            BrokerError: The broker, which has the history, cannot be asked.
        """
        joined = membership.join(
            self._endpoint,
            group,
            since=since,
            history=history,
            ttl=ttl,
            presence=presence,
            info=info,
            envelope=envelope,
            was=was,
            reply=reply,
        )
        if membership.note(self._endpoint, group):
            signals.emit(signals.group_joined, self, group=group)
        return joined

    def members(self, group: str) -> list[Member]:
        """Return the present members of a group; see :meth:`.Group.members`."""
        return hub.group(group).members()

    def leave(self, group: str, *, reply: Any = None) -> bool:
        """Leave a group; return whether the WebSocket was a member.

        Args:
            group: The group's name.
            reply: The number of the client's request; a "left" frame answers it.

        Raises:
            TypeError: The name is not a str.
        """
        left = membership.leave(self._endpoint, group, reply)
        if left:
            signals.emit(signals.group_left, self, group=group)
        return left

    def recheck(self) -> bool:
        """Return whether the login that opened the connection is still valid.

        The session and the user are read again. The connection is closed with 4001 if
        the user has logged out, was deactivated or deleted, if the password has
        changed, or if the session has expired. Otherwise ``request.user`` becomes the
        user as the database has it now. Guests may always stay.

        If the database is unavailable, the connection stays: the method returns True
        and logs the error.
        """
        found = self._endpoint.rights
        if found is None:
            return not self._endpoint.connection.ended
        return rights.may_stay(found)

    def watch(
        self, interval: float = 30.0, allowed: Callable[[], bool] | None = None
    ) -> None:
        """Check the login from time to time, also while the view waits.

        The check is that of :meth:`recheck`, but ``request.user`` stays unchanged: one
        thread of the process makes the checks of all connections. When a user logs out
        or is deactivated or deleted through Django, the connection is closed at once,
        in all processes that a broker joins.

        Args:
            interval: Seconds between two checks (see ``RECHECK_INTERVAL``).
            allowed: A further check, called in that thread: for example, whether a
                token is still valid. If it returns False or raises PermissionDenied,
                the connection is closed with 4001. After another exception, the
                connection stays.

        Raises:
            ValueError: The interval is not a number greater than 0.
            TypeError: ``allowed`` is not callable.
            RuntimeError: The view has ended.
        """
        following.begin(self._to_watch(interval, allowed), interval)

    def accept_connection(self) -> None:
        """Open a WebSocket that a middleware has made by ``create_websocket()``.

        For any other WebSocket, do nothing: it was opened before the view began.

        Raises:
            HandshakeError: The handshake is not acceptable.
            PermissionDenied: The Origin is not allowed.
            SocketUnavailable: The server's socket cannot be taken over.
        """
        connection: Any = self._endpoint.connection
        if isinstance(connection, Unopened):
            connection.accept(self)

    def _send_full(
        self, message: Any, binary: bool | None, overflow: str, timeout: Seconds | None
    ) -> bool:
        """Send to a connection that is closed, or whose outbox is full."""
        endpoint = self._endpoint
        connection, port = endpoint.connection, endpoint.port
        limit = self._send_timeout if timeout is None else seconds(timeout)
        if endpoint.has_ended():
            sent = False
            # A wrong type raises TypeError here, too.
            connection.send(message, binary, "refuse")
        elif overflow == "block" or (overflow == "auto" and endpoint.is_served()):
            if port is None:
                sent = connection.send(message, binary, overflow, limit)
            else:
                sent = port.send(message, binary, overflow, limit)
        else:
            policy = "close" if overflow == "auto" else overflow
            sent = connection.send(message, binary, policy)
        if not sent:
            endpoint.note_failed_send()
        return sent
