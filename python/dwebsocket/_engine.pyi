"""The Rust engine. Private: import from :mod:`dwebsocket` instead.

Nothing here knows Django. Every call that can wait releases the interpreter
while it does, and a wait on the main thread answers to Ctrl-C.
"""

from collections.abc import Sequence
from typing import Literal, final

from .exceptions import BrokerError as BrokerError

__version__: str

@final
class Options:
    """The limits and habits of a connection. Immutable; built once, shared.

    Args:
        max_message_size: Bytes of one message after reassembly and inflation.
        max_frame_size: Bytes of one frame's payload; None: no limit of its own.
        max_fragments: Empty frames that one message may contain.
        ping_interval: Seconds between keepalive pings; None: no pings.
        ping_timeout: Seconds to wait for the pong before the peer counts as gone.
        handshake_timeout: Seconds within which the 101 must be written out.
        close_timeout: Seconds to wait for the peer's half of the close handshake.
        idle_timeout: Seconds without a message from the peer before the connection
            is closed with 1001; None: no limit.
        inbox_messages: Received messages that may wait for the view; reading stops
            at the limit, so that TCP slows the peer.
        inbox_bytes: The same in bytes.
        outbox_messages: Messages that may wait to be written to a slow peer.
        outbox_bytes: The same in bytes.
        text_as_bytes: Deliver text messages as bytes (the classic dialect).
        validate_utf8: Fail the connection with 1007 on a text message that is not
            UTF-8 (RFC 6455 section 8.1). False delivers it as it is.
        compression: "off", "shared" (no context takeover: no memory while idle)
            or "dedicated" (context takeover: better ratio, more memory).
        compression_threshold: Messages shorter than this many bytes go out plain.
        compression_level: From 1 (fastest) to 9 (smallest).
        overflow: What a message to a group does that finds no room: "close",
            "drop_oldest" or "drop_newest"; "auto" and "block" close, for nobody can
            wait.

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
            subprotocol: The chosen one, or None.
            headers: More headers (cookies, say). Those that RFC 6455 or HTTP/1.1
                decide (``Connection``, ``Upgrade``, ``Sec-WebSocket-*``,
                ``Content-Length``, ``Content-Type``, ``Transfer-Encoding``,
                ``Keep-Alive``) are left out.

        Raises:
            ValueError: A name or value has a character that would end the header.
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
        connection: The value of the header ``Connection``; "" where it is absent.
        upgrade: That of ``Upgrade``.
        key: That of ``Sec-WebSocket-Key``; None where it is absent.
        version: That of ``Sec-WebSocket-Version``; None where it is absent.
        protocols: That of ``Sec-WebSocket-Protocol``; "" where it is absent.
        extensions: That of ``Sec-WebSocket-Extensions``; "" where it is absent.
        options: Decides whether compression is negotiated.

    Raises:
        dwebsocket.exceptions.HandshakeError: With ``status`` (400, 405 or 426) and the
            headers that the refusal must carry.
    """

@final
class Permit:
    """A place among the process's connections; given back when it is dropped."""

def reserve(limit: int) -> Permit | None:
    """Take a place, or return None where ``limit`` connections are open already."""

def connection_count() -> int:
    """Return how many connections this process has open or under way."""

@final
class WakeQueue:
    """Tells an event loop, by one file descriptor, which connections are ready."""

    def __new__(cls) -> WakeQueue: ...
    def fileno(self) -> int:
        """Return the descriptor that is readable while :meth:`drain` has something."""
    def drain(self) -> list[int]:
        """Return the ids of the armed connections that became ready, and reset."""

@final
class Sender:
    """The habit of a sender that is no thread: a greenlet.

    Of threads, the engine knows by itself; see :meth:`Connection.is_served`.
    """

    def __new__(cls) -> Sender: ...
    def note(self, id: int) -> None:
        """Note that it sends to the connection with this id; 0: to many."""
    def serves(self, id: int) -> bool:
        """Return what :meth:`Connection.is_served` does for a thread."""
    @property
    def turns(self) -> int:
        """How often it has turned from one connection to another."""

def turns() -> int:
    """Return how often the calling thread has turned from one connection to another."""

@final
class Adoption:
    """A socket taken from the WSGI server, on its way to becoming a connection.

    Dropped without :meth:`start`, it closes the socket.
    """

    def start(
        self,
        head: bytes,
        leftover: bytes,
        handshake: Handshake,
        options: Options,
        permit: Permit,
        wake: WakeQueue | None = None,
    ) -> Connection:
        """Write the response head and let the engine run the connection.

        Args:
            head: What :meth:`Handshake.response` returned.
            leftover: Bytes that the server had read past the request.
            handshake: Decides the extensions in use.
            options: The connection's limits.
            permit: Its place; held until the socket is closed.
            wake: Where an event loop hears of the connection; None: views wait in
                threads.

        Raises:
            RuntimeError: The engine's threads cannot be started, or it has stopped.
            OSError: The socket is not usable.
        """

@final
class Held:
    """A second descriptor of a socket of the WSGI server's.

    Dropped without :meth:`adopt`, it is closed; the server's own stays as it is.
    """

    def adopt(
        self, fd: int, epoll_fd: int | None = None, sock: object | None = None
    ) -> Adoption:
        """Take the socket away from the server, which knows it as ``fd``.

        Args:
            fd: The server's descriptor.
            epoll_fd: As for :func:`adopt`.
            sock: The server's socket object: its ``fileno()`` must still be ``fd``. No
                other Python thread runs between this question and the end of the call.

        Raises:
            OSError: ``fd`` is not this socket any more, the socket was adopted or
                closed before, or no descriptor is left. What is behind ``fd`` is then
                as it was.
        """

    def close(self) -> None:
        """Close the second descriptor; does nothing after :meth:`adopt`."""

def hold(fd: int, sock: object | None = None) -> Held:
    """Duplicate the descriptor of a request's socket.

    Args:
        fd: The server's descriptor of a connected TCP or Unix stream socket.
        sock: The server's socket object: its ``fileno()`` must be ``fd``.

    Raises:
        OSError: ``fd`` is not a connected stream socket, or no descriptor is left.
    """

def adopt(fd: int, epoll_fd: int | None = None) -> Adoption:
    """Take the socket behind the server's descriptor ``fd``.

    The server keeps its number, which from now on is one end of a socket pair whose
    other end reads and forgets: the server's own response vanishes there, its next
    read meets the end of the file, and it closes its descriptor in peace.

    Args:
        fd: The server's descriptor of a connected TCP or Unix stream socket.
        epoll_fd: The epoll instance of the server's event loop, if it has one: the
            registration of ``fd`` is taken out of it.

    Raises:
        OSError: ``fd`` is not a connected stream socket, or no descriptor is left.
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

        The peer's code where its Close frame arrived, 1005 where that had none, 1006
        where the connection broke without one; the engine's own code where the engine
        failed the connection; None before the end.
        """
    @property
    def close_reason(self) -> str:
        """The reason that came with the code; "" if none."""
    @property
    def latency(self) -> float | None:
        """Seconds that the latest ping took to come back; None before the first."""
    @property
    def pending(self) -> int:
        """How many messages wait in the inbox."""
    @property
    def stats(self) -> dict[str, int]:
        """Counters: messages and bytes each way, dropped messages, queue lengths."""
    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Return the oldest waiting message, or None on a timeout or at the end.

        Tell the two apart by :attr:`ended`: at the end it is True and no message is
        left. Blocks the thread, not the interpreter.

        Args:
            timeout: Seconds; None waits for ever, 0 never waits.
        """
    def leave_turn(self) -> None:
        """Let the next view run: the calling thread waits for no message more."""
    def arm(self) -> bool:
        """Ask the WakeQueue to report this connection once it has something to receive.

        Returns False, and arms nothing, where something is there already (a message,
        the end).
        """
    def arm_writable(self) -> bool:
        """The same for room in the outbox; False where there is room (or the end)."""
    def send(
        self,
        data: str | bytes | bytearray | memoryview,
        binary: bool | None = None,
        overflow: str = "close",
        timeout: float | None = None,
    ) -> bool:
        """Send one message. Tries the socket at once, queues what does not fit.

        Args:
            data: The message.
            binary: True: a binary message; False: text; None: by the type, str is
                text and everything else text where it is valid UTF-8, else binary.
            overflow: What to do when the outbox is full: "close" (fail the connection
                with 1013), "drop_oldest", "drop_newest", "block" (wait for room), or
                "refuse" (return False, to a caller who waits by :meth:`arm_writable`).
            timeout: Seconds that "block" waits before it drops the message.

        Returns:
            True if the message was written or queued; False if it was not, because the
            connection is closing or closed, or by the overflow policy.

        Raises:
            TypeError: ``data`` is none of the types above.
            ValueError: ``binary`` is False and the bytes are not UTF-8, or ``overflow``
                is unknown.
        """
    def is_served(self) -> bool:
        """Return whether the calling thread serves this connection.

        It does if its latest calls of :meth:`send` all went here. One such call proves
        nothing: a loop over many connections begins like that, too. A thread that has
        sent to others before, comes back to this connection, or publishes to many,
        needs more of them.
        """
    def ping(self, payload: bytes = b"") -> bool:
        """Send a ping of at most 125 bytes.

        Returns:
            Whether it is on its way: False where the connection is closing, or where 64
            pings wait already, because the peer does not read.

        Raises:
            ValueError: The payload is too long (RFC 6455 section 5.5).
        """
    def close(self, code: int = 1000, reason: str = "") -> bool:
        """Start the close handshake; queued messages go out first. Idempotent.

        Wakes whoever waits in :meth:`receive`. Returns whether this call was the one
        that started it.

        Raises:
            ValueError: ``code`` may not be sent (RFC 6455 section 7.4), or the reason
                is longer than 123 bytes of UTF-8.
        """
    def abort(self) -> None:
        """Drop the TCP connection without a close handshake; tests break one so."""
    def fileno(self) -> int:
        """Return a descriptor that polls readable while a message or the end waits.

        Made at the first call and owned by the connection.
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
        """Make the connection a member of a group; None where it has ended.

        Args:
            group: 1 to 255 bytes of UTF-8 without control characters. One that ends in
                "*" stands for every group that begins with what is before it.
            since: The offset and epoch of the latest message that the client has seen:
                what came after it is sent first. (0, "") asks for all that is kept.
            history: How many messages the group keeps; 0: none.
            ttl: Seconds that it keeps them.
            envelope: Have :meth:`envelop` called.
            presence: Whether the other members see this one.
            info: What they see, a JSON object of at most 64 KiB.
            was: The :attr:`member_id` that the client had before: messages that left
                these out are not sent to it now. Of more than 16, the last count.
            reply: The number of the client's request, as JSON: answer it by a frame.
            timeout: Seconds that the broker may take.

        Raises:
            ValueError: The name breaks the rules, a number is out of its range, or the
                info is too large.
            BrokerError: The broker, which has the history, cannot be asked.
        """
    def leave(self, group: str, reply: str | None = None) -> bool:
        """End a membership; return whether there was one."""
    @property
    def groups(self) -> list[str]:
        """The groups that the connection is a member of."""
    def envelop(self) -> None:
        """From now on, wrap messages from groups in the client's JSON protocol."""
    def identify(self, user: str) -> None:
        """Make the connection reachable as one of the user's."""
    @property
    def member_id(self) -> str:
        """The name by which members of its groups know the connection."""

@final
class Joined:
    """The result of joining a group."""

    @property
    def recovered(self) -> bool:
        """Whether every message after ``since`` was sent."""
    @property
    def offset(self) -> int:
        """Where the group stands: the number of its latest message."""
    @property
    def epoch(self) -> str:
        """Which history the offset counts in; "" where none is kept."""
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
        """The worst of what the broker did with the message for each target."""
    @property
    def offset(self) -> int:
        """Its number in the group's history; 0 where none is kept, or not known yet."""
    @property
    def epoch(self) -> str:
        """The history that the offset counts in; "" where there is none."""
    @property
    def dropped(self) -> int:
        """How many connections lost a message to their limits."""

def broker_check(url: str) -> None:
    """Check that a broker's URL can be used; connect to nothing.

    Raises:
        ValueError: It cannot.
    """

def hub_configure(
    *, broker: str | None, prefix: str = "dwebsocket", timeout: float = 2.0
) -> None:
    """Connect this process to a broker, once.

    Raises:
        ValueError: The URL cannot be used.
    """

def hub_flush(timeout: float) -> bool:
    """Wait until the broker has everything; return whether that was in time."""

@final
class HubStats:
    """What the hub has and has lost; :class:`dwebsocket.hub.Stats` explains each."""

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
    """Count what the hub has; start nothing where none runs."""

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
    """Send a message to everybody who belongs to one of the targets.

    Args:
        kind: "group", "user" or "all".
        targets: Names of groups or users.
        data: The message.
        binary: Whether it goes out as a binary message.
        json: Whether it is a JSON text.
        exclude: The :attr:`Connection.member_id` of connections, of any process, that
            do not get it.
        histories: For each group, how many messages it keeps (0: none), and for how
            many seconds.
        timeout: Seconds to wait for the broker.

    Raises:
        ValueError: A name breaks the rules, or text is not UTF-8.
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

    Each once. Waits, for at most two seconds, right after the broker was connected to.
    """

def count(groups: list[str]) -> int:
    """Return how many members groups have, each counted once.

    Waits as :func:`members`.
    """

def occupied(prefix: str) -> list[tuple[str, int]]:
    """Return the groups with present members, by name, and how many they have."""

def history(
    group: str, limit: int, size: int, ttl: float = 300.0, timeout: float | None = None
) -> tuple[list[tuple[int, str | bytes]], int, str]:
    """Return the latest messages of a group with their offsets, its top and epoch.

    Raises:
        BrokerError: The broker cannot be asked.
    """

def start() -> None:
    """Start the engine of this process, if it does not run.

    Raises:
        OSError: The system has no thread or no descriptor left, or the process ends.
    """

def settle_stack() -> None:
    """Keep huge pages off the calling thread's stack."""

def json_depth(text: bytes) -> int:
    """Return how deep arrays and objects are nested in JSON, at the most."""

def position(
    group: str, size: int, ttl: float = 300.0, timeout: float | None = None
) -> tuple[int, str]:
    """Return where a group's history stands: the latest offset, and the epoch.

    Raises:
        BrokerError: The broker cannot be asked.
    """

def broker_address() -> str | None:
    """Return where the broker is, without the password; None where there is none."""

def stop(timeout: float, code: int = 1001) -> int:
    """Close every connection and stop the engine of this process.

    Args:
        timeout: Seconds that closing handshakes may take.
        code: The close code that the peers get: 1001 (going away) or 1012 (restart).

    Returns:
        How many connections had to be cut off.
    """

def close_all(code: int = 1001) -> int:
    """Start the close handshake of every connection; return how many there were.

    New ones are refused from then on. For a stop in two steps, of which
    :func:`stop` is the second: views get to see the end in between.
    """

def seal() -> None:
    """Never let a waiting thread come back into the interpreter again.

    The very last act before the interpreter is torn down: a daemon thread that
    returned to it then would crash the process.
    """

def drain_log() -> list[tuple[int, str, float]]:
    """Return and forget what the engine has to log: (logging level, message, time)."""

def wait_log(timeout: float | None = None) -> bool:
    """Wait until :func:`drain_log` has something, outside of the interpreter.

    Returns:
        False if no record came in time, or this process has no engine.
    """

def log_to(queue: WakeQueue) -> bool:
    """Report to an event loop from now on that :func:`drain_log` has something.

    Returns:
        False where there is no engine in this process.
    """
