"""The messages and the groups of one process; no I/O.

A store may be used by several event loops and threads at once. A message stays in its
channel until a receiver takes it and goes on at once: to cancel a receiver that waits
loses nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

__all__ = ("Message", "Store", "Waiter")

#: How often per lifetime of a message the store looks for expired ones.
_LOOKS = 10

Waiter: TypeAlias = "asyncio.Future[None]"


class Message(NamedTuple):
    """A message in a channel.

    Args:
        expires: The time (``time.time()``) after which nobody receives it.
        packed: The message, packed.
    """

    expires: float
    packed: bytes


class _Channel:
    __slots__ = ("capacity", "messages", "waiters")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.messages: deque[Message] = deque()
        #: Those that are not woken yet.
        self.waiters: deque[Waiter] = deque()

    def next(self) -> list[Waiter]:
        """Return the waiter that is to be woken for a message, if there is one."""
        return [self.waiters.popleft()] if self.waiters else []


class Store:
    """The channels and groups of one process.

    Args:
        capacity: Returns how many messages a channel may hold.
        expiry: Seconds for which a message may wait.
        group_expiry: Seconds for which a channel stays in a group.
        empty: Called with groups that have lost their last members, not under the lock:
            they may have members again.
    """

    def __init__(
        self,
        capacity: Callable[[str], int],
        expiry: float,
        group_expiry: float,
        empty: Callable[[list[str]], None],
    ) -> None:
        self._capacity = capacity
        self._expiry = expiry
        self._group_expiry = group_expiry
        self._lock = threading.Lock()
        self._channels: dict[str, _Channel] = {}
        #: The members of each group with the times at which they joined, oldest first.
        self._groups: dict[str, dict[str, float]] = {}
        self._groups_of: dict[str, set[str]] = {}
        self._empty = empty
        #: Groups that are empty now, for ``empty``.
        self._emptied: list[str] = []
        self._look_at = 0.0
        #: Messages that found no room, or came too late, and letters between processes
        #: that found none.
        self.dropped = 0

    def __len__(self) -> int:
        """Return the number of channels with messages or receivers."""
        return len(self._channels)

    # Channels.

    def put(self, name: str, message: Message, now: float) -> bool | None:
        """Put a message into a channel.

        Returns:
            Whether a receiver waits for it; None: the channel is full.
        """
        with self._lock:
            self._look(now)
            channel = self._channel(name)
            self._expire(name, channel, now)
            full = len(channel.messages) >= channel.capacity
            if not full:
                channel.messages.append(message)
                woken = channel.next()
        self._tell()
        if full:
            return None
        _wake(woken)
        return bool(woken)

    def take(self, name: str, now: float) -> Message | Waiter:
        """Take the oldest message out of a channel.

        Returns:
            The message; without one, a future of the running loop that is done when the
            caller should try again. The caller gives it to :meth:`leave` then.
        """
        with self._lock:
            self._look(now)
            channel = self._channel(name)
            self._expire(name, channel, now)
            found: Message | Waiter
            if channel.messages:
                found = channel.messages.popleft()
                self._tidy(name, channel)
            else:
                found = asyncio.get_running_loop().create_future()
                channel.waiters.append(found)
        self._tell()
        return found

    def leave(self, name: str, waiter: Waiter, again: bool) -> bool:
        """Remove a waiter; return whether messages are left that nobody waits for.

        Args:
            name: The channel.
            waiter: What :meth:`take` has returned.
            again: Whether the caller calls :meth:`take` again at once. Otherwise the
                next waiter is woken for the message that has woken this one.
        """
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                return False
            woken: list[Waiter] = []
            if waiter in channel.waiters:
                channel.waiters.remove(waiter)
            elif channel.messages and not again:
                woken = channel.next()
            left = bool(channel.messages) and not woken
            self._tidy(name, channel)
        _wake(woken)
        return left

    def grant(self, name: str, most: int, now: float) -> tuple[list[Message], bool]:
        """Take messages for another process; return them, and whether more wait."""
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                return [], False
            self._expire(name, channel, now)
            count = min(most, len(channel.messages))
            granted = [channel.messages.popleft() for _ in range(count)]
            more = bool(channel.messages)
            self._tidy(name, channel)
        self._tell()
        return granted, more

    def waiting(self, name: str) -> int:
        """Return how many receivers wait that no message of a channel has woken."""
        with self._lock:
            channel = self._channels.get(name)
            return 0 if channel is None else len(channel.waiters)

    # Groups.

    def add(self, group: str, channel: str, now: float) -> None:
        """Add a channel to a group, or note that it has joined again."""
        with self._lock:
            members = self._groups.setdefault(group, {})
            # The order of a dict is that of its insertions.
            members.pop(channel, None)
            members[channel] = now
            self._groups_of.setdefault(channel, set()).add(group)

    def discard(self, group: str, channel: str) -> bool:
        """Remove a channel from a group; return whether it was a member."""
        with self._lock:
            was = self._discard(group, channel)
        self._tell()
        return was

    def has(self, group: str) -> bool:
        """Return whether a group has members."""
        return group in self._groups

    def groups(self) -> list[str]:
        """Return the groups that have members."""
        return list(self._groups)

    def put_all(self, group: str, message: Message, now: float) -> None:
        """Put a message into all channels of a group that have room."""
        with self._lock:
            self._look(now)
            self._expire_members(group, now)
            channels = self._channels
            woken: list[Waiter] = []
            for name in tuple(self._groups.get(group, ())):
                channel = channels.get(name)
                if channel is None:
                    channel = self._channel(name)
                elif self._expire(name, channel, now):
                    # It is no member any more.
                    self._tidy(name, channel)
                    continue
                if len(channel.messages) >= channel.capacity:
                    self.dropped += 1
                    continue
                channel.messages.append(message)
                if channel.waiters:
                    woken.append(channel.waiters.popleft())
        self._tell()
        _wake(woken)

    def clear(self) -> None:
        """Forget all messages and groups; receivers go on waiting."""
        with self._lock:
            self._emptied += self._groups
            self._groups.clear()
            self._groups_of.clear()
            for name, channel in list(self._channels.items()):
                channel.messages.clear()
                self._tidy(name, channel)
        self._tell()

    def lose(self) -> None:
        """Count something that is dropped."""
        with self._lock:
            self.dropped += 1

    def _tell(self) -> None:
        """Report the groups that are empty, if there are any, with no lock held."""
        if not self._emptied:
            return
        with self._lock:
            emptied, self._emptied = self._emptied, []
        self._empty(emptied)

    # Under the lock.

    def _channel(self, name: str) -> _Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel(self._capacity(name))
        return channel

    def _tidy(self, name: str, channel: _Channel) -> None:
        if not channel.messages and not channel.waiters:
            self._channels.pop(name, None)

    def _look(self, now: float) -> None:
        """Remove expired messages from all channels, now and then."""
        if now < self._look_at:
            return
        self._look_at = now + self._expiry / _LOOKS
        for name, channel in list(self._channels.items()):
            self._expire(name, channel, now)
            self._tidy(name, channel)
        for group in list(self._groups):
            self._expire_members(group, now)

    def _expire(self, name: str, channel: _Channel, now: float) -> bool:
        """Remove expired messages of a channel; return whether there were any."""
        expired = False
        while channel.messages and channel.messages[0].expires < now:
            channel.messages.popleft()
            expired = True
        if expired:
            # Nobody receives from it: it is out of use.
            for group in tuple(self._groups_of.get(name, ())):
                self._discard(group, name)
        return expired

    def _expire_members(self, group: str, now: float) -> None:
        members = self._groups.get(group)
        while members:
            name, joined = next(iter(members.items()))
            if joined + self._group_expiry > now:
                return
            self._discard(group, name)

    def _discard(self, group: str, channel: str) -> bool:
        members = self._groups.get(group)
        if members is None or members.pop(channel, None) is None:
            return False
        if not members:
            del self._groups[group]
            self._emptied.append(group)
        of = self._groups_of[channel]
        of.discard(group)
        if not of:
            del self._groups_of[channel]
        return True


def _wake(waiters: Iterable[Waiter]) -> None:
    """Have receivers try again, with one call for each event loop of other threads."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    others: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
    for waiter in waiters:
        loop = waiter.get_loop()
        if loop is here:
            if not waiter.done():
                waiter.set_result(None)
        else:
            others.setdefault(loop, []).append(waiter)
    for loop, some in others.items():
        # A loop that is closed has no receivers any more.
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set, some)


def _set(waiters: Iterable[Waiter]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
