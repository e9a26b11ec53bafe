"""The channel layer: the interface that Channels defines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgpack
from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from dwebsocket.conf import settings

from .offers import Offers
from .post import Post
from .store import Message, Store, Waiter

__all__ = ("ChannelLayer",)

logger = logging.getLogger("dwebsocket.channels")

#: The kinds of letters between processes.
_GROUP, _DIRECT, _ADD, _DISCARD, _HAVE, _WANT, _NOTHING, _FLUSH = range(8)
#: The address of all mailboxes.
_ALL = "all"
#: Seconds after which a message that was asked for counts as lost: at most, at least,
#: and as a part of the seconds after which it expires.
_PATIENCE, _LEAST, _PART = 5.0, 0.1, 0.25
#: How often per lifetime of a message the layer looks for channels that are not used.
_LOOKS = 10


class ChannelLayer(BaseChannelLayer):
    """A layer for ``CHANNEL_LAYERS`` on the hub of this package.

    Without a broker (``DWEBSOCKET["BROKER"]``), the layer joins the consumers of one
    process. With one, it joins all processes that have the broker and the prefix.

    Args:
        prefix: Layers with different prefixes are apart: letters, digits, "-", "_".
        expiry: Seconds for which a message waits for a receiver.
        group_expiry: Seconds after which a channel that was not added again leaves its
            group.
        capacity: Messages that may wait in a channel.
        channel_capacity: Other capacities, by patterns of the channels' names.
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        prefix: str = "asgi",
        expiry: float = 60,
        group_expiry: float = 86_400,
        capacity: int = 100,
        channel_capacity: Mapping[Any, int] | None = None,
    ) -> None:
        # The base class keeps fractions of a second, too, and calls the capacities the
        # same before and after this.
        super().__init__(expiry=expiry, capacity=capacity)  # type: ignore[arg-type]
        compiled: Any = self.compile_capacities(dict(channel_capacity or {}))
        self.channel_capacity = compiled
        self.prefix = prefix
        self.group_expiry = group_expiry
        self._renew()

    def _renew(self) -> None:
        """Begin with nothing, in a new process."""
        self._made_in = os.getpid()
        self._lock = threading.Lock()
        #: The name of this process in the names of its channels.
        self._node = secrets.token_hex(8)
        self._store = Store(
            self.get_capacity, self.expiry, self.group_expiry, self._empty
        )
        self._post: Post | None = None
        #: The channels that receivers of this process ask the others for.
        self._offers = Offers(
            self._store.waiting, max(_LEAST, min(_PATIENCE, self.expiry * _PART))
        )
        self._look_at = 0.0

    def _use(self) -> Store:
        """Return the store of this process."""
        if self._made_in != os.getpid():
            # After a fork: the messages belong to the parent.
            self._renew()
        return self._store

    async def _mail(self, sends: bool = False) -> Post | None:
        """Return the mailbox; None if there is no broker.

        Args:
            sends: Whether the caller sends letters: it waits while too many wait.
        """
        post = self._post
        if post is None or not post.is_usable:
            if settings.BROKER is None:
                return None
            post = self._open()
        for listening in post.ready:
            if not listening.done():
                await _done(listening)
        if sends:
            while (full := post.full) is not None:
                await _settled(full)
        self._look(post)
        return post

    def _open(self) -> Post:
        """Return a mailbox that can be used."""
        with self._lock:
            post = self._post
            if post is not None:
                if post.is_usable:
                    return post
                post.close()
            own = (_ALL, f"n:{self._node}")
            post = self._post = Post(self.prefix, self._deliver, own, self._store.lose)
            self._offers.clear()
        for group in self._store.groups():
            # The mailbox before this one has listened to it.
            self._join(post, group)
        return post

    def _look(self, post: Post) -> None:
        """Leave the channels that nobody has received from for long, now and then."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + self.expiry / _LOOKS
            self._offers.sweep(now - self.expiry, lambda name: post.leave(f"c:{name}"))

    def _pass_on(
        self, post: Post | None, channel: str, parts: list[Any]
    ) -> Future[None] | None:
        """Send a letter to the process of a channel, unless that is this process.

        A channel that all processes may receive from is this process's business.

        Args:
            post: The mailbox.
            channel: The channel.
            parts: The letter.

        Returns:
            What is done when the letter is sent: there is nothing left to do here.
            None: there is.
        """
        node = _node_of(channel)
        if post is None or node in (None, self._node):
            return None
        return post.send(f"n:{node}", _letter(parts))

    # Channels.

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to a channel; one receiver gets it.

        Raises:
            ChannelFull: As many messages wait there as the capacity allows. (Whether a
                channel of another process is full is not known; it drops the message.)
            TypeError: The channel's name is not valid, or the message is not a dict of
                what MessagePack can express; a number is too large for it, a string is
                no Unicode text (a lone surrogate), or a key is not hashable.
        """
        self.require_valid_channel_name(channel)
        packed = Message(time.time() + self.expiry, _pack(message))
        store, post = self._use(), await self._mail(sends=True)
        sent = self._pass_on(post, channel, [_DIRECT, channel, *packed, False])
        if sent is None:
            waits = store.put(channel, packed, time.time())
            if waits is None:
                raise ChannelFull(channel)
            sent = None if waits else self._offer(channel)
        await _sent(sent)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message of a channel; wait for it.

        If several receivers wait, one of them gets the message. To cancel a receiver
        loses no message.

        Raises:
            TypeError: The channel's name is not valid.
        """
        self.require_valid_channel_name(channel)
        store = self._use()
        while True:
            found = store.take(channel, time.time())
            if isinstance(found, Message):
                message: dict[str, Any] = _unpack(found.packed)
                return message
            again, post = False, None
            try:
                post = await self._ask(channel)
                if post is None:
                    await found
                else:
                    await self._wait(post, channel, found)
                again = True
            finally:
                left = store.leave(channel, found, again)
                if post is not None:
                    self._offers.leave(channel, time.monotonic())
                if left and not again:
                    self._offer(channel)

    async def new_channel(self, prefix: str = "specific") -> str:
        """Return the name of a new channel of this process."""
        self._use()
        await self._mail()
        return f"{prefix}.{self._node}!{secrets.token_hex(8)}"

    async def _ask(self, channel: str) -> Post | None:
        """Ask other processes for messages to a channel that all may receive from.

        Returns:
            The mailbox; None: other processes have no messages for this receiver.
        """
        post = await self._mail()
        if post is None or _node_of(channel) is not None:
            return None
        asked, new = self._offers.enter(
            channel, partial(post.listen, f"c:{channel}"), time.monotonic()
        )
        if new:
            # Whether or not this receiver is cancelled meanwhile: others rely on it.
            asked.add_done_callback(partial(self._ask_all, post, channel))
        if not asked.done() or asked.exception() is not None:
            await _done(asked)
        self._want_next(post, channel)
        return post

    async def _wait(self, post: Post, channel: str, found: Waiter) -> None:
        """Wait for a message; ask other processes if one does not answer."""
        while not found.done():
            pause = self._offers.pause(channel, time.monotonic())
            await asyncio.wait((found,), timeout=pause)
            if not found.done():
                self._want_next(post, channel)

    def _ask_all(self, post: Post, channel: str, asked: Future[None]) -> None:
        """Ask all processes for messages to a channel that this one listens to."""
        if asked.exception() is not None:
            # The next receiver tries again.
            self._offers.forget(channel, asked)
            return
        # Those that have messages offer them.
        post.send(_ALL, _letter([_WANT, channel, self._node, 0]))

    def _want(self, post: Post, channel: str, node: str) -> None:
        """Ask a process that offers messages for as many as receivers wait for."""
        missing = self._offers.offered(channel, node, time.monotonic())
        if missing:
            post.send(f"n:{node}", _letter([_WANT, channel, self._node, missing]))

    def _want_next(self, post: Post, channel: str) -> None:
        """Ask one of the processes that have offered messages and were not asked."""
        found = self._offers.next(channel, time.monotonic())
        if found is not None:
            # It offers more with what it sends.
            node, missing = found
            post.send(f"n:{node}", _letter([_WANT, channel, self._node, missing]))

    def _offer(self, channel: str) -> Future[None] | None:
        """Tell other processes of messages to a channel that they may receive from."""
        post = self._post
        if post is None or _node_of(channel) is not None:
            return None
        return post.send(f"c:{channel}", _letter([_HAVE, channel, self._node]))

    # Groups.

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group, for ``group_expiry`` seconds.

        Raises:
            TypeError: A name is not valid.
        """
        self._check(group, channel)
        store, post = self._use(), await self._mail(sends=True)
        sent = self._pass_on(post, channel, [_ADD, group, channel])
        if sent is not None:
            await _sent(sent)
            return
        store.add(group, channel, time.time())
        if post is not None:
            await _done(self._join(post, group))

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group.

        Raises:
            TypeError: A name is not valid.
        """
        self._check(group, channel)
        store, post = self._use(), await self._mail(sends=True)
        sent = self._pass_on(post, channel, [_DISCARD, group, channel])
        if sent is None:
            was = store.discard(group, channel)
            if post is not None and not was and _node_of(channel) is None:
                # Another process may have added it.
                sent = post.send(_ALL, _letter([_DISCARD, group, channel]))
        await _sent(sent)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to all channels of a group, in all processes.

        A channel that is full does not get it.

        Raises:
            TypeError: The name is not valid, or the message cannot be packed, as in
                :meth:`send`.
        """
        self.require_valid_group_name(group)
        packed = Message(time.time() + self.expiry, _pack(message))
        store, post = self._use(), await self._mail(sends=True)
        store.put_all(group, packed, time.time())
        if post is not None:
            await _sent(post.send(f"g:{group}", _letter([_GROUP, group, *packed])))

    async def flush(self) -> None:
        """Forget all messages and groups, in all processes."""
        self._use().clear()
        post = await self._mail(sends=True)
        if post is not None:
            await _sent(post.send(_ALL, _letter([_FLUSH])))

    async def close(self) -> None:
        """Release the mailbox; the layer may be used again.

        Letters that wait for the broker get up to ``BROKER_TIMEOUT`` seconds.
        """
        self._use()
        with self._lock:
            post, self._post = self._post, None
        if post is not None:
            last = post.close()
            if last is not None:
                await _settled(last, float(settings.BROKER_TIMEOUT))

    def _check(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)

    def _join(self, post: Post, group: str) -> Future[None]:
        """Listen to a group; return what is done when the broker knows."""
        listening = post.listen(f"g:{group}")
        # Its last member may go before the broker knows.
        listening.add_done_callback(lambda _: self._leave(post, group))
        return listening

    def _count(self, listening: Future[None]) -> None:
        """Count a group that could not be listened to, where nobody can be told."""
        if listening.exception() is not None:
            self._store.lose()

    def _leave(self, post: Post, group: str) -> None:
        """Listen to a group no longer if it has no members here."""
        if not self._store.has(group):
            post.leave(f"g:{group}")
            if self._store.has(group):
                # Another thread has added one meanwhile.
                self._join(post, group)

    def _empty(self, groups: Iterable[str]) -> None:
        """Listen no longer to groups that have lost their last members here."""
        post = self._post
        if post is not None:
            for group in groups:
                self._leave(post, group)

    # Letters.

    def _deliver(self, letter: bytes) -> None:
        """Handle a letter from another process, in the mailbox's thread."""
        try:
            kind, *rest = _unpack(letter)
            self._handle(kind, rest)
        except Exception as error:
            logger.warning("A message from another process cannot be used: %r", error)

    def _handle(self, kind: int, rest: list[Any]) -> None:
        post = self._post
        if post is None:
            return
        self._look(post)
        if kind == _DIRECT:
            self._take_in(post, *rest)
        elif kind == _HAVE:
            self._want(post, *rest)
        elif kind == _WANT:
            self._grant(post, *rest)
        elif kind == _NOTHING:
            # Another receiver was faster there.
            self._offers.came(*rest)
            self._want_next(post, *rest)
        else:
            self._handle_groups(post, kind, rest)

    def _handle_groups(self, post: Post, kind: int, rest: list[Any]) -> None:
        store, now = self._store, time.time()
        if kind == _GROUP:
            group, expires, packed = rest
            if expires < now:
                # In a channel, it would count as one that nobody has received.
                store.lose()
            else:
                store.put_all(group, Message(expires, packed), now)
        elif kind == _ADD:
            group, channel = rest
            store.add(group, channel, now)
            self._join(post, group).add_done_callback(self._count)
        elif kind == _DISCARD:
            group, channel = rest
            store.discard(group, channel)
        elif kind == _FLUSH:
            store.clear()

    def _take_in(
        self,
        post: Post,
        channel: str,
        expires: float,
        packed: bytes,
        more: bool,
        node: str = "",
    ) -> None:
        """Put a message of another process into its channel."""
        if node:
            if more:
                # Before this one counts as come: it has a receiver already.
                self._want(post, channel, node)
            self._offers.came(channel)
        now = time.time()
        if expires < now:
            self._store.lose()
            return
        waits = self._store.put(channel, Message(expires, packed), now)
        if waits is None:
            self._store.lose()
        elif not waits:
            # The receiver was cancelled meanwhile.
            self._offer(channel)

    def _grant(self, post: Post, channel: str, node: str, most: int) -> None:
        """Send messages of a channel to another process that asks for them.

        Args:
            post: The mailbox.
            channel: The channel.
            node: The other process.
            most: How many it asks for; 0: it asks whether there are any.
        """
        granted, more = self._store.grant(channel, most, time.time())
        for message in granted:
            letter = _letter([_DIRECT, channel, *message, more, self._node])
            post.send(f"n:{node}", letter)
        if not most and more:
            post.send(f"n:{node}", _letter([_HAVE, channel, self._node]))
        for _ in range(most - len(granted)):
            post.send(f"n:{node}", _letter([_NOTHING, channel]))


async def _sent(sent: Future[None] | None) -> None:
    """Wait until the broker has a letter, if there is one.

    If the broker takes too long, the letter goes on waiting alone.
    """
    if sent is not None:
        await _settled(sent, float(settings.BROKER_TIMEOUT))
        if sent.done():
            sent.result()


async def _done(future: Future[None]) -> None:
    """Wait for a future of another thread, and raise its exception."""
    await _settled(future)
    future.result()


async def _settled(future: Future[None], timeout: float | None = None) -> None:
    """Wait for a future of another thread, which other callers may wait for, too.

    The future is not cancelled with the caller, and its exception is nobody's then.
    """
    if not future.done():
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()

        def wake(_: Future[None]) -> None:
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_set, waiter)

        future.add_done_callback(wake)
        await asyncio.wait((waiter,), timeout=timeout)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _node_of(channel: str) -> str | None:
    """Return the process that a channel belongs to; None: to any of them."""
    local, mark, _ = channel.partition("!")
    return local.rpartition(".")[2] if mark else None


def _pack(message: dict[str, Any]) -> bytes:
    if not isinstance(message, dict):
        raise TypeError(f"a message is a dict, not {type(message).__name__}")
    try:
        packed: bytes = msgpack.packb(message, use_bin_type=True)
        # Not all that can be packed can be unpacked by the receivers.
        _unpack(packed)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"the message cannot be packed: {error}") from error
    return packed


def _letter(parts: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(parts, use_bin_type=True)
    return packed


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, raw=False, strict_map_key=False)
