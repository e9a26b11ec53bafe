"""The Rust engine. Private: import from :mod:`dwebsocket` instead.

The engine does not know Django. Every call that can wait releases the interpreter
meanwhile, and Ctrl-C interrupts a wait of the main thread.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from os import PathLike
from typing import Any, Literal, final

from .exceptions import BrokerError as BrokerError

__version__: str

@final
class Options:
    """The limits and options of connections. Immutable: one object serves many.

    Args:
        max_message_size: Bytes of one message after reassembly and inflation.
        max_frame_size: Bytes of one frame's payload; None: no separate limit.
        max_fragments: Empty frames that one message may contain.
        ping_interval: Seconds between keepalive pings; None: no pings.
        ping_timeout: Seconds to wait for the pong before the peer counts as gone.
        handshake_timeout: Seconds within which the 101 must be written out.
        close_timeout: Seconds to wait for the peer's half of the close handshake.
        idle_timeout: Seconds without a message from the peer before the connection
            is closed with 1001; None: no limit.
        inbox_messages: Received messages that may wait for the view; reading stops
            at the limit, so that TCP slows the peer.
        inbox_bytes: The same limit in bytes.
        outbox_messages: Messages that may wait to be written to a slow peer.
        outbox_bytes: The same limit in bytes.
        text_as_bytes: Deliver text messages as bytes (the classic dialect).
        validate_utf8: Fail the connection with 1007 on a text message that is not
            UTF-8 (RFC 6455 section 8.1). False delivers such a message unchanged.
        compression: "off", "shared" (no context takeover: no memory while idle)
            or "dedicated" (context takeover: better ratio, more memory).
        compression_threshold: Messages shorter than this many bytes are sent
            uncompressed.
        compression_level: From 1 (fastest) to 9 (smallest).
        overflow: What happens if a message to many finds the outbox full: "close",
            "drop_oldest" or "drop_newest". "auto" and "block" act like "close",
            because a sender to many cannot wait.

    Raises:
        ValueError: An argument is out of its range; the message names it.
    """

    def __new__(
        cls,
        *,
        max_message_size: int = 1_048_576,
        max_frame_size: int | None = None,
        max_fragments: int = 16_384,
        ping_interval: float | None = 20.0,
        ping_timeout: float = 20.0,
        handshake_timeout: float = 10.0,
        close_timeout: float = 10.0,
        idle_timeout: float | None = None,
        inbox_messages: int = 256,
        inbox_bytes: int = 1_048_576,
        outbox_messages: int = 4_096,
        outbox_bytes: int = 4_194_304,
        text_as_bytes: bool = False,
        validate_utf8: bool = True,
        compression: str = "shared",
        compression_threshold: int = 256,
        compression_level: int = 1,
        overflow: str = "close",
    ) -> Options: ...
    @property
    def close_timeout(self) -> float:
        """Seconds to wait for the peer's half of the close handshake."""

@final
class Handshake:
    """A client's opening handshake that passed every check of RFC 6455 section 4.2."""

    @property
    def protocols(self) -> list[str]:
        """The subprotocols that the client offers, in its order of preference."""
    def response(
        self, subprotocol: str | None, headers: Sequence[tuple[str, str]]
    ) -> bytes:
        """Return the whole head of the 101 response.

        Args:
            subprotocol: The chosen subprotocol, or None.
            headers: More headers, such as cookies. Headers that RFC 6455 or HTTP/1.1
                determine (``Connection``, ``Upgrade``, ``Sec-WebSocket-*``,
                ``Content-Length``, ``Content-Type``, ``Transfer-Encoding``,
                ``Keep-Alive``) are left out.

        Raises:
            ValueError: A name or value contains a character that would end the header.
        """

def handshake(
    *,
    method: str,
    connection: str,
    upgrade: str,
    key: str | None,
    version: str | None,
    protocols: str,
    extensions: str,
    options: Options,
) -> Handshake:
    """Check an opening handshake and negotiate the extensions.

    Args:
        method: The request method.
        connection: The header ``Connection``; "" if it is absent.
        upgrade: The header ``Upgrade``; "" if it is absent.
        key: The header ``Sec-WebSocket-Key``; None if it is absent.
        version: The header ``Sec-WebSocket-Version``; None if it is absent.
        protocols: The header ``Sec-WebSocket-Protocol``; "" if it is absent.
        extensions: The header ``Sec-WebSocket-Extensions``; "" if it is absent.
        options: Decides whether compression is negotiated.

    Raises:
        dwebsocket.exceptions.HandshakeError: A check failed; the error has the
            ``status`` (400, 405 or 426) and the headers of the refusal.
    """

@final
class Permit:
    """One of the process's places for connections; given back when it is dropped."""

def reserve(limit: int) -> Permit | None:
    """Take a place; return None if ``limit`` connections are open already."""

def connection_count() -> int:
    """Return how many connections of this process are open or being opened."""

@final
class WakeQueue:
    """Tells an event loop, by one file descriptor, which connections are ready."""

    def __new__(cls) -> WakeQueue: ...
    def fileno(self) -> int:
        """Return the descriptor; it is readable while :meth:`drain` has an id."""
    def drain(self) -> list[int]:
        """Return the ids of armed connections that became ready; reset the queue."""

@final
class FarEnd:
    """The peer's end of a connection over a queue, for the event loop of a server.

    Dropping it hangs up.
    """

    def push(self, message: str | bytes) -> bool | None:
        """Give the connection a message of the peer.

        Returns:
            True: the connection has it. False: it has no room now, see
            :meth:`arm_room`. None: it takes nothing any more.
        """
    def close(self, code: int | None = None, reason: str = "") -> bool | None:
        """Tell the connection that the peer has said Close; returns as :meth:`push`."""
    def hang_up(self) -> None:
        """Tell the connection that the peer has gone; idempotent."""
    def drain(self, most: int) -> list[dict[str, Any]]:
        """Take what the connection has sent, as messages of ASGI, ``most`` at most.

        A ``websocket.close`` is the last of all.
        """
    def arm(self) -> bool:
        """Ask for a report to the wake queue when there is something to drain.

        Returns:
            False: there is something, or the connection has ended; no report comes.
        """
    def arm_room(self) -> bool:
        """Ask for a report when there is room for the message that was refused.

        Returns:
            False: there is room, or the connection has ended; no report comes.
        """
    def wait(self, timeout: float | None = None) -> bool:
        """Block the thread until there is something to drain, or the connection ends.

        Returns:
            Whether that was within ``timeout`` seconds.
        """
    @property
    def is_ended(self) -> bool:
        """Whether the connection has ended; this is reported without :meth:`arm`."""
    @property
    def is_over(self) -> bool:
        """Whether the connection has ended, and all that it has sent is drained."""

def connect_queue(
    options: Options,
    permit: Permit,
    wake: WakeQueue,
    token: int,
    event_loop: EventLoop | TaskLoop | HandlerPool | None = None,
) -> tuple[Connection, FarEnd]:
    """Open a connection over a queue; an event loop carries its messages.

    Such a connection sends no keepalive pings: the server at the far end does.

    Args:
        options: The limits of the connection.
        permit: Its place in the process.
        wake: Gets the reports that :meth:`FarEnd.arm` asks for.
        token: The number that is reported.
        event_loop: The loop in which its view waits; None: it blocks a thread.

    Raises:
        OSError: The engine cannot be started, or is stopping.
    """

def connect_mailbox(options: Options) -> tuple[Connection, FarEnd]:
    """Open a connection that is no WebSocket, but gets messages to users and groups.

    It counts nowhere, and messages to all connections do not reach it.

    Raises:
        OSError: As :func:`connect_queue`.
    """

@final
class EventLoop:
    """A hub of greenlets: reads the sockets of its views, and keeps those that wait.

    Iterating yields the greenlets that are to go on, one by one.

    Args:
        current: Returns the current greenlet.
        keep: Is called with True when the first greenlet waits, and with False when
            none waits any more.
    """

    def __new__(
        cls, current: Callable[[], Any], keep: Callable[[bool], None]
    ) -> EventLoop: ...
    def filenos(self) -> tuple[int, int]:
        """Return two descriptors: if one polls readable, call :meth:`attend`."""
    def attend(self) -> None:
        """Read the sockets that are ready; then iterate over this object."""
    def __iter__(self) -> EventLoop: ...
    def __next__(self) -> Any: ...
    def handle(self, id: int, switch: Any) -> None:
        """Iterate over ``switch`` whenever there is something for a connection."""
    def forget(self, id: int) -> None:
        """Undo :meth:`handle`."""
    def unpark(self, id: int, greenlet: Any) -> bool:
        """Take out a greenlet that waits for a connection; False if it does not."""
    @property
    def is_unfinished(self) -> bool:
        """Whether :meth:`attend` should be called again soon, in any case."""
    @property
    def is_foreign(self) -> bool:
        """Whether the parent process has made this loop, before a fork."""

@final
class TaskLoop:
    """An event loop of asyncio: reads the sockets of its views, and runs their tasks.

    Args:
        asyncio: The loop, which runs in the calling thread.
        signal: Django's signal of each message that a view gets.

    Raises:
        OSError: The process has no descriptor left.
    """

    def __new__(cls, asyncio: Any, signal: Any) -> TaskLoop: ...
    def filenos(self) -> tuple[int, int]:
        """Return two descriptors: if one polls readable, call :meth:`attend`."""
    def attend(self) -> None:
        """Read the sockets that are ready, and run the tasks that wait for them."""
    def attend_again(self) -> None:
        """Do what is left of :meth:`attend`; the loop calls this."""
    def handle(
        self, id: int, wake: Callable[[Handled], None], handled: Handled
    ) -> None:
        """Call ``wake(handled)`` whenever there is something for a connection."""
    def forget(self, id: int) -> None:
        """Undo :meth:`handle`."""
    def close(self) -> None:
        """Forget the tasks that wait: the loop is closed."""
    @property
    def is_foreign(self) -> bool:
        """Whether the parent process has made this loop, before a fork."""

@final
class HandlerPool:
    """Threads that call the handlers of many connections.

    Args:
        spawn: Starts a thread that calls :meth:`serve`.
        most: The most threads.

    Raises:
        OSError: The process has no descriptor left.
    """

    def __new__(cls, spawn: Callable[[], None], most: int) -> HandlerPool: ...
    def start(self) -> None:
        """Start the first thread, unless there is one; raises what ``spawn`` raises."""
    def add(self, handled: Handled) -> None:
        """Call the handlers of a connection from now on."""
    def serve(self, rest: Callable[[bool], float | None]) -> None:
        """Serve connections in the calling thread, until it is not needed.

        Args:
            rest: Closes the database connections of the calling thread that may not be
                kept (True: all of them), and returns after how many seconds the others
                are to be closed; None: there are none.
        """
    def close(self) -> None:
        """Have the threads end."""
    @property
    def threads(self) -> int:
        """The number of threads."""
    @property
    def is_foreign(self) -> bool:
        """Whether the parent process has made this pool, before a fork."""

@final
class Handled:
    """A connection whose handlers a pool calls.

    Args:
        connection: The connection.
        context: Runs a function with the state of the request.
        call: Begins, finishes, and takes care of exceptions.
        on_message: Gets each message.
        signal: Django's signal of each message.
    """

    def __new__(
        cls,
        connection: Connection,
        context: Any,
        call: Any,
        on_message: Callable[[Any], Any],
        signal: Any,
    ) -> Handled: ...
    def claim(self) -> bool:
        """Have the caller serve the connection; False: another one looks again."""
    def serve(self) -> bool:
        """Call the handlers; return whether to call this again soon.

        Only for a caller that has claimed the connection.
        """
    def take(self) -> str | bytes | Literal[False] | None:
        """Take the next message; False: the end; None: there is none.

        After None, the connection has to be claimed again.
        """

def handles(id: int) -> bool:
    """Return whether the calling thread runs a handler of the connection."""

def note_database() -> None:
    """Note that the calling thread may have a database connection open."""

@final
class TaskPort:
    """A connection whose view is a task.

    Args:
        connection: The connection.
        task_loop: The loop.
        overflow: What a full outbox does.
        timeout: Seconds for which an awaited send waits for room; None: no limit.
    """

    def __new__(
        cls,
        connection: Connection,
        task_loop: TaskLoop,
        overflow: str,
        timeout: float | None,
    ) -> TaskPort: ...
    def wait(self, owner: Any, timeout: float | None = None, /) -> Receiving:
        """Return an awaitable of a message, or of None when the time is up.

        Args:
            owner: Gets ``_heard(message)`` if the signal has receivers. Its coroutine
                ``_ended(raises)`` answers at the end.
            timeout: Seconds to wait; None: no limit.
        """
    def receive(self, owner: Any, timeout: float | None = None, /) -> Receiving:
        """Return an awaitable of a message; ``owner._late(timeout)`` raises."""
    def offer(
        self,
        message: str | bytes | bytearray | memoryview,
        binary: bool | None,
        /,
    ) -> Sending | None:
        """Send by the connection's policy; None: the message was not accepted."""
    def send(
        self,
        message: str | bytes | bytearray | memoryview,
        binary: bool | None,
        overflow: str,
        timeout: float | None,
        /,
    ) -> Sending | None:
        """Send by another policy and time limit than the connection's."""
    def at_end(self, callback: Callable[[], None], /) -> None:
        """Have the loop call ``callback`` once the connection has ended."""
    def forget_end(self) -> None:
        """Forget the callback of :meth:`at_end`."""

@final
class Receiving(Coroutine[Any, Any, Any]):
    """The awaitable of a message, which counts as a coroutine."""

    @property
    def advice(self) -> str:
        """What to tell a program that has forgotten to await this."""
    def __await__(self) -> Any: ...
    def __iter__(self) -> Any: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...
    def __bool__(self) -> bool: ...

@final
class Sending(Awaitable[bool]):
    """The awaitable of room in an outbox, which is no coroutine."""

    def __await__(self) -> Any: ...
    def __iter__(self) -> Any: ...
    def __next__(self) -> Any: ...

@final
class LoopPort:
    """A connection whose view waits in an event loop.

    Args:
        connection: The connection.
        event_loop: The loop.
        switch: Switches to the hub.
        alarm: Starts a timer that ends the wait of a greenlet (seconds, id, greenlet).
        rest: Lets other greenlets run; for so many seconds, if it gets a number.
    """

    def __new__(
        cls,
        connection: Connection,
        event_loop: EventLoop,
        switch: Callable[[], Any],
        alarm: Callable[[float, int, Any], Any],
        rest: Callable[..., Any],
    ) -> LoopPort: ...
    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Receive as :meth:`Connection.receive` does, but let other greenlets run."""
    def wait_for_room(self, timeout: float | None = None) -> bool:
        """Wait until the outbox may have room; return False if the time is up."""
    def offer(
        self,
        message: str | bytes | bytearray | memoryview,
        binary: bool | None,
        overflow: str,
    ) -> bool:
        """Send as :meth:`Connection.send` does, and note it for the greenlet."""
    @property
    def is_foreign(self) -> bool:
        """Whether the calling thread is not the one of the loop."""

@final
class Sender:
    """The habit of a greenlet as a sender: the connections that it sends to.

    The engine itself keeps the habits of threads; see :meth:`Connection.is_served`.
    """

    def __new__(cls) -> Sender: ...
    def note(self, id: int) -> None:
        """Note a send to the connection with this id; 0: a send to many."""
    def serves(self, id: int) -> bool:
        """Return the same as :meth:`Connection.is_served`, for the greenlet."""
    @property
    def turns(self) -> int:
        """How often the greenlet has changed the connection that it sends to."""

def turns() -> int:
    """Return how often the calling thread has changed the connection it sends to."""

@final
class Adoption:
    """A socket taken from the WSGI server, before it becomes a connection.

    If the object is dropped before :meth:`start`, it closes the socket.
    """

    def start(
        self,
        head: bytes,
        leftover: bytes,
        handshake: Handshake,
        options: Options,
        permit: Permit,
        event_loop: EventLoop | TaskLoop | HandlerPool | None = None,
    ) -> Connection:
        """Write the response head and let the engine run the connection.

        Args:
            head: The result of :meth:`Handshake.response`.
            leftover: Bytes that the server had read past the request.
            handshake: Decides the extensions in use.
            options: The connection's limits.
            permit: The connection's place; held until the socket is closed.
            event_loop: The loop that reads the socket and in which views wait; None:
                views wait in threads.

        Raises:
            RuntimeError: The engine's threads cannot be started, or it has stopped.
            OSError: The socket cannot be used.
        """

@final
class Held:
    """A second descriptor of one of the WSGI server's sockets.

    If the object is dropped before :meth:`adopt`, it closes the second descriptor; the
    server's descriptor stays as it is.
    """

    def adopt(
        self, fd: int, epoll_fd: int | None = None, sock: object | None = None
    ) -> Adoption:
        """Take the socket away from the server, which knows it as ``fd``.

        Args:
            fd: The server's descriptor.
            epoll_fd: As for :func:`adopt`.
            sock: The server's socket object: its ``fileno()`` must still be ``fd``. No
                other Python thread runs between this check and the end of the call.

        Raises:
            OSError: ``fd`` is not this socket any more, the socket was adopted or
                closed before, or the system has no descriptor left. The file behind
                ``fd`` is then unchanged.
        """

    def close(self) -> None:
        """Close the second descriptor; does nothing after :meth:`adopt`."""

def hold(fd: int, sock: object | None = None) -> Held:
    """Duplicate the descriptor of a request's socket.

    Args:
        fd: The server's descriptor of a connected TCP or Unix stream socket.
        sock: The server's socket object: its ``fileno()`` must be ``fd``.

    Raises:
        OSError: ``fd`` is not a connected stream socket, or the system has no
            descriptor left.
    """

def adopt(fd: int, epoll_fd: int | None = None) -> Adoption:
    """Take the socket behind the server's descriptor ``fd``.

    The server keeps the number ``fd``, which from now on is one end of a socket pair.
    The other end discards all that it reads: the server's own response vanishes there,
    the server's next read gets the end of file, and the server closes ``fd`` without
    harm.

    Args:
        fd: The server's descriptor of a connected TCP or Unix stream socket.
        epoll_fd: The epoll instance of the server's event loop, if it has one; ``fd``
            is removed from it.

    Raises:
        OSError: ``fd`` is not a connected stream socket, or the system has no
            descriptor left.
    """

@final
class Connection:
    """An open WebSocket. Safe to use from any thread."""

    @property
    def id(self) -> int:
        """A number that no other connection of this process ever has."""
    @property
    def ended(self) -> bool:
        """Whether no further message will arrive (unread ones may still wait)."""
    @property
    def close_code(self) -> int | None:
        """The close code once the connection has ended (RFC 6455 section 7.1.5).

        The peer's code if its Close frame arrived; 1005 if that frame had no code; 1006
        if the connection broke without a Close frame; the engine's own code if the
        engine failed the connection; None before the end.
        """
    @property
    def close_reason(self) -> str:
        """The reason that came with the code; "" if there was none."""
    @property
    def latency(self) -> float | None:
        """Round-trip time of the latest ping, in seconds; None before the first."""
    def describe(
        self, path: str, address: str, view: str = "", transport: str = ""
    ) -> None:
        """Say what the monitoring shows of the connection, once.

        Args:
            path: The path of the request.
            address: The address of the peer; "" if it is unknown.
            view: In what the view runs: "thread", "greenlet", "task", "handler" or
                "request".
            transport: How the peer is reached: "socket" or "queue".
        """
    def watch_site(self) -> None:
        """Say that the peer is a page that watches the site.

        From now on, the messages of this connection are not counted in the figures, and
        the figures tell the number of such connections.
        """
    @property
    def gone(self) -> bool:
        """Whether the engine has forgotten the connection; for tests.

        Its groups and users have been left before.
        """
    @property
    def pending(self) -> int:
        """How many messages wait in the inbox."""
    @property
    def stats(self) -> dict[str, int]:
        """Counters: messages and bytes each way, dropped messages, queue lengths."""
    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Return the oldest waiting message, or None on a timeout or at the end.

        :attr:`ended` tells the two apart: at the end it is True and no message is left.
        The call blocks the thread, not the interpreter.

        Args:
            timeout: Seconds; None waits for ever, 0 never waits.
        """
    def leave_turn(self) -> None:
        """Let the next view run: the calling thread waits for no message more."""
    def send(
        self,
        data: str | bytes | bytearray | memoryview,
        binary: bool | None = None,
        overflow: str = "close",
        timeout: float | None = None,
    ) -> bool:
        """Send one message: write to the socket at once, queue the rest.

        Args:
            data: The message.
            binary: True: a binary message. False: a text message. None: text for str
                and for bytes that are valid UTF-8, else binary.
            overflow: What to do when the outbox is full: "close" (fail the connection
                with 1013), "drop_oldest", "drop_newest", "block" (wait for room, then
                drop the message), "auto" (wait for room, then fail the connection), or
                "refuse" (return False; the caller waits with
                :meth:`LoopPort.wait_for_room`).
            timeout: Seconds that "block" and "auto" wait for room. A handler does not
                wait if half of the threads for handlers wait so already.

        Returns:
            True if the message was written or queued; False if not, because the
            connection is closing or closed, or because of the overflow policy.

        Raises:
            TypeError: ``data`` has none of the types above.
            ValueError: ``binary`` is False and the bytes are not UTF-8, or ``overflow``
                is unknown.
        """
    def is_served(self) -> bool:
        """Return whether the calling thread serves this connection.

        A thread serves it if its latest calls of :meth:`send` all went to this
        connection. One call proves nothing, because a loop over many connections begins
        like that, too. More calls are needed of a thread that has sent to other
        connections or to many before, and most of one that comes back to this
        connection.

        False in a thread that runs a handler: it serves other connections as well.
        """
    def ping(self, payload: bytes = b"") -> bool:
        """Send a ping of at most 125 bytes.

        Returns:
            Whether the ping was accepted: False if the connection is closing, or if 64
            pings wait already because the peer does not read.

        Raises:
            ValueError: The payload is too long (RFC 6455 section 5.5).
        """
    def close(self, code: int = 1000, reason: str = "") -> bool:
        """Start the close handshake; queued messages are sent first. Idempotent.

        Threads that wait in :meth:`receive` wake up.

        Returns:
            Whether this call started the close handshake.

        Raises:
            ValueError: ``code`` may not be sent (RFC 6455 section 7.4), or the reason
                is longer than 123 bytes of UTF-8.
        """
    def abort(self) -> None:
        """Drop the TCP connection without a close handshake; for tests."""
    def fileno(self) -> int:
        """Return a descriptor that polls readable while a message or the end waits.

        The first call makes the descriptor; the connection owns it.

        Raises:
            OSError: The process has no descriptor left, or was forked from the one to
                which the connection belongs.
        """
    def join(
        self,
        group: str,
        *,
        since: tuple[int, str] | None = None,
        history: int = 0,
        ttl: float = 300.0,
        envelope: bool = False,
        presence: bool = False,
        info: str | None = None,
        was: list[str] | None = None,
        reply: str | None = None,
        timeout: float | None = None,
    ) -> Joined | None:
        """Make the connection a member of a group; None if the connection has ended.

        Args:
            group: 1 to 255 bytes of UTF-8 without control characters. A name that ends
                in "*" is a wildcard: it means all groups whose names begin with the
                part before "*".
            since: The offset and epoch of the latest message that the client has seen:
                later messages are sent first. (0, "") asks for all that are kept.
            history: How many messages the group keeps; 0: none.
            ttl: Seconds for which the group keeps them.
            envelope: Call :meth:`envelop`, too.
            presence: Whether the other members see this one.
            info: The member's information for the others, JSON of at most 64 KiB.
            was: The :attr:`member_id` of the client's earlier connections: messages
                that exclude one of these are not sent to it. Only the last 16 count.
            reply: The number of the client's request, as JSON: a frame answers it.
            timeout: Seconds that the broker may take.

        Raises:
            ValueError: The name breaks the rules, a number is out of its range, or the
                info is too large.
            BrokerError: The broker, which has the history, cannot be reached.
        """
    def leave(self, group: str, reply: str | None = None) -> bool:
        """End a membership; return whether there was one."""
    @property
    def groups(self) -> list[str]:
        """The groups that the connection is a member of."""
    def envelop(self) -> None:
        """From now on, wrap messages from groups in the client's JSON protocol."""
    def identify(self, user: str, timeout: float = 0.0) -> None:
        """Make the connection reachable as a connection of this user.

        Args:
            user: The name of the user in the hub.
            timeout: Seconds to wait for the broker. After that, messages that other
                processes send to the user reach the connection, too.
        """
    def forget_user(self, user: str) -> None:
        """End what :meth:`identify` has begun."""
    @property
    def member_id(self) -> str:
        """The id that the connection has for the other members of its groups."""

@final
class Joined:
    """The result of joining a group."""

    @property
    def recovered(self) -> bool:
        """Whether every message after ``since`` was sent."""
    @property
    def offset(self) -> int:
        """The group's current offset: the number of its latest message."""
    @property
    def epoch(self) -> str:
        """The history that the offset counts in; "" if the group keeps none."""
    @property
    def missed(self) -> int:
        """How many messages were sent."""

@final
class Published:
    """The result of sending a message to many."""

    @property
    def local(self) -> int:
        """How many connections of this process the message went to."""
    @property
    def broker(self) -> Literal["none", "sent", "stored", "pending", "unavailable"]:
        """What the broker did with the message; the worst result of several targets."""
    @property
    def offset(self) -> int:
        """The number in the group's history; 0 if there is none, or it is not known."""
    @property
    def epoch(self) -> str:
        """The history that the offset counts in; "" if there is none."""
    @property
    def dropped(self) -> int:
        """How many connections lost a message because of a full outbox."""

def broker_check(url: str) -> None:
    """Check that a broker's URL can be used, without a connection.

    Raises:
        ValueError: The URL cannot be used.
    """

def hub_configure(
    *, broker: str | None, prefix: str = "dwebsocket", timeout: float = 2.0
) -> None:
    """Connect this process to a broker, once.

    Raises:
        ValueError: The URL cannot be used.
    """

def hub_flush(timeout: float) -> bool:
    """Wait until the broker has all messages; return whether this was in time."""

def hub_forget_histories() -> None:
    """Forget the histories of groups without members; for tests.

    Histories that a broker keeps stay there.
    """

@final
class HubStats:
    """Numbers of the hub; :class:`dwebsocket.hub.Stats` explains each."""

    @property
    def connections(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def memberships(self) -> int: ...
    @property
    def users(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def broker(self) -> Literal["none", "connected", "away"]: ...

def hub_stats() -> HubStats:
    """Return the numbers of the hub; does not start a hub."""

def publish(
    kind: Literal["group", "user", "all"],
    targets: list[str],
    data: str | bytes,
    *,
    binary: bool = False,
    json: bool = False,
    exclude: list[str] | None = None,
    histories: list[tuple[int, float]] | None = None,
    timeout: float | None = None,
) -> Published:
    """Send a message to every connection that belongs to one of the targets.

    Args:
        kind: "group", "user" or "all".
        targets: Names of groups or users.
        data: The message.
        binary: Whether it is sent as a binary message.
        json: Whether the data is JSON text.
        exclude: The :attr:`Connection.member_id` of connections, in any process, that
            do not get the message.
        histories: For each group, how many messages it keeps (0: none), and for how
            many seconds.
        timeout: Seconds to wait for the broker.

    Raises:
        ValueError: A name breaks the rules, or a text is not UTF-8.
    """

def disconnect(
    kind: Literal["group", "user", "all"],
    targets: list[str],
    code: int = 1000,
    reason: str = "",
    timeout: float | None = None,
) -> Published:
    """Close the connections of the targets, in all processes.

    Raises:
        ValueError: The code may not be sent (RFC 6455 section 7.4).
    """

def members(groups: list[str]) -> list[tuple[str, str]]:
    """Return the ids of the present members of groups, and their info as JSON.

    Each member is listed once. Right after the process has connected to the broker, the
    call waits up to two seconds for the other processes.
    """

def count(groups: list[str]) -> int:
    """Return how many members groups have; each member counts once.

    The call may wait, like :func:`members`.
    """

def check_group(name: str, may_be_wildcard: bool = False) -> None:
    """Check the name of a group.

    Args:
        name: The name.
        may_be_wildcard: Whether the name may end in ``*``, as for joining.

    Raises:
        ValueError: No group can have this name.
    """

def occupied(prefix: str) -> list[tuple[str, int]]:
    """Return the groups with present members, by name, and their numbers of members.

    The call may wait, like :func:`members`.
    """

def history(
    group: str, limit: int, size: int, ttl: float = 300.0, timeout: float | None = None
) -> tuple[list[tuple[int, str | bytes]], int, str]:
    """Return a group's latest messages with their offsets, its top offset and epoch.

    Raises:
        BrokerError: The broker cannot be reached.
    """

def start() -> None:
    """Start the engine of this process, unless it runs.

    Raises:
        OSError: The system has no thread or no descriptor left, or the process is
            ending.
    """

def forget_sends() -> None:
    """Forget the connections to which the calling thread has sent."""

def settle_thread() -> None:
    """Keep huge pages off the calling thread's stack, and make room for it to sleep."""

def json_depth(text: bytes) -> int:
    """Return the greatest depth of nested arrays and objects in a JSON text."""

def position(
    group: str, size: int, ttl: float = 300.0, timeout: float | None = None
) -> tuple[int, str]:
    """Return the position of a group's history: the latest offset, and the epoch.

    Raises:
        BrokerError: The broker cannot be reached.
    """

def broker_address() -> str | None:
    """Return the broker's address without the password; None if there is no broker."""

def stop(timeout: float, code: int = 1001) -> int:
    """Close every connection and stop the engine of this process.

    Args:
        timeout: Seconds that closing handshakes may take.
        code: The close code that the peers get: 1001 (going away) or 1012 (restart).

    Returns:
        How many connections had to be cut off.
    """

def renew(timeout: float) -> None:
    """Stop the engine, and let this process start another one; for tests.

    The hub and the connection to the broker end with the engine. A connection of the
    old engine is then like one of another process: calls on it do nothing.

    Args:
        timeout: Seconds that closing handshakes may take.
    """

def close_all(code: int = 1001) -> int:
    """Start the close handshake of every connection; return how many there were.

    New connections are refused from then on. This is the first step of a stop, and
    :func:`stop` is the second: views see the end in between.
    """

def leave(code: int, spread: float, at_signal: bool = False) -> None:
    """Start to close all connections, evenly over a time; only the first call counts.

    New connections are still accepted, and are closed as well.

    Args:
        code: The close code that the peers get.
        spread: The most seconds that this takes; fewer if there are few connections.
        at_signal: Do so when the process gets SIGTERM, after the server's own handler
            of the signal; without such a handler, do nothing.
    """

def refuse() -> None:
    """Refuse new connections from now on."""

def is_leaving() -> bool:
    """Return whether :func:`leave` has begun to close the connections."""

def has_left() -> bool:
    """Return whether all connections of :func:`leave` are being closed."""

def seal() -> None:
    """Keep waiting threads out of the interpreter from now on.

    This is the last call before the interpreter is torn down: a daemon thread that
    returned to the interpreter then would crash the process.
    """

def drain_log() -> list[tuple[int, str, float]]:
    """Take the engine's waiting log records: (logging level, message, time)."""

def wait_log(timeout: float | None = None) -> bool:
    """Wait until :func:`drain_log` has a record, outside of the interpreter.

    Returns:
        False if no record came in time, or this process has no engine.
    """

def log_to(queue: WakeQueue) -> bool:
    """Report to an event loop, from now on, that :func:`drain_log` has a record.

    Returns:
        False if this process has no engine.
    """

def monitor_attach(directory: str | PathLike[str]) -> None:
    """Keep the figures of this process in a file of this directory from now on.

    The directory is made if it is not there. The first call counts.

    Raises:
        OSError: The directory cannot be made, belongs to another user or is open to
            others, or the file cannot be made.
    """

def monitor_serve() -> None:
    """Answer the questions of other processes: over a socket, and over the broker.

    Raises:
        OSError: The socket cannot be made, or the engine cannot be started.
    """

def monitor_read(directory: str | PathLike[str]) -> str:
    """Return the figures of all processes that use this directory, as JSON.

    Raises:
        OSError: The directory is not there, or is not this user's own.
    """

def monitor_answer(question: str) -> str:
    """Answer a question (JSON) for this process, as JSON.

    ``src/monitor/question.rs`` lists the questions.
    """

def monitor_ask(question: str, timeout: float) -> list[bytes]:
    """Ask all other processes of the site over the broker; return their answers (JSON).

    Args:
        question: As for :func:`monitor_answer`.
        timeout: Seconds after which the answers that are missing are given up.
    """

def count_refused(status: int) -> None:
    """Count a refused handshake by its HTTP status, for the figures."""

def count_view_error() -> None:
    """Count a view that has ended with an exception, for the figures."""
