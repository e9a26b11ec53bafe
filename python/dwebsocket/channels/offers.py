"""What other processes offer to the receivers of this one; no I/O.

A message to a channel that all processes may receive from stays with its sender, which
offers it. This process asks one of those that offer for as many messages as it has
receivers, and keeps the other offers until it has receivers for them, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

__all__ = ("Offers",)

#: Processes whose offers are kept for one channel; the oldest is forgotten first.
_MOST = 1_024


class _Channel:
    __slots__ = ("asked", "listening", "nodes", "since", "used")

    def __init__(self, listening: Future[None], now: float) -> None:
        #: Done when this process listens to the channel, and has asked all others.
        self.listening = listening
        #: When a receiver has last begun or ceased to wait.
        self.used = now
        #: The processes that have messages and were not asked, oldest first.
        self.nodes: dict[str, None] = {}
        #: Messages that were asked for and have not come, and when the latest was.
        self.asked, self.since = 0, now


class Offers:
    """The channels that this process receives from, and who has messages for them.

    All times are those of one clock, of the caller's choice.

    Args:
        waiting: Returns how many receivers wait in a channel.
        patience: Seconds after which a message that was asked for counts as lost.
    """

    def __init__(self, waiting: Callable[[str], int], patience: float) -> None:
        self._waiting = waiting
        self._patience = patience
        #: Held while receivers are counted and an offer is kept: a receiver that begins
        #: to wait after the count finds the offer.
        self._lock = threading.Lock()
        self._channels: dict[str, _Channel] = {}

    def __contains__(self, channel: str) -> bool:
        return channel in self._channels

    def enter(
        self, channel: str, listen: Callable[[], Future[None]], now: float
    ) -> tuple[Future[None], bool]:
        """Note that a receiver waits in a channel.

        Args:
            channel: The channel.
            listen: Begins to listen to it; called if this process does not yet.
            now: The time.

        Returns:
            The future of ``listen``, and whether it is a new one.
        """
        with self._lock:
            known = self._channels.get(channel)
            if known is not None:
                known.used = now
                return known.listening, False
            listening = listen()
            self._channels[channel] = _Channel(listening, now)
        return listening, True

    def leave(self, channel: str, now: float) -> None:
        """Note that a receiver has ceased to wait in a channel."""
        known = self._channels.get(channel)
        if known is not None:
            known.used = now

    def forget(self, channel: str, listening: Future[None]) -> None:
        """Forget a channel that could not be listened to."""
        with self._lock:
            known = self._channels.get(channel)
            if known is not None and known.listening is listening:
                del self._channels[channel]

    def clear(self) -> None:
        """Forget all channels: nobody listens to them any more."""
        with self._lock:
            self._channels.clear()

    def sweep(self, unused: float, leave: Callable[[str], None]) -> None:
        """Forget the channels that nobody receives from.

        Args:
            unused: Channels in which a receiver has waited since then are kept.
            leave: Ends the listening to a channel.
        """
        with self._lock:
            for channel, known in list(self._channels.items()):
                if (
                    known.used < unused
                    and known.listening.done()
                    and not self._waiting(channel)
                ):
                    del self._channels[channel]
                    # Under the lock, so that a receiver that comes now listens later.
                    leave(channel)

    def offered(self, channel: str, node: str, now: float) -> int:
        """Return how many messages a process that has some is to be asked for.

        If that is 0, the offer is kept. It is not if nobody listens to the channel any
        more: the next receiver asks all processes.
        """
        with self._lock:
            known = self._channels.get(channel)
            return 0 if known is None else self._ask(channel, known, node, now)

    def next(self, channel: str, now: float) -> tuple[str, int] | None:
        """Return the next process that is to be asked, and for how many messages."""
        with self._lock:
            known = self._channels.get(channel)
            if known is None or not known.nodes:
                return None
            node = next(iter(known.nodes))
            del known.nodes[node]
            missing = self._ask(channel, known, node, now)
        return (node, missing) if missing else None

    def came(self, channel: str) -> None:
        """Note that a message that was asked for has come, or will not."""
        with self._lock:
            known = self._channels.get(channel)
            if known is not None and known.asked:
                known.asked -= 1

    def pause(self, channel: str, now: float) -> float:
        """Return the seconds after which a receiver should try :meth:`next` again."""
        known = self._channels.get(channel)
        if known is None or not known.asked:
            return self._patience
        left = known.since + self._patience - now
        # What was asked for is lost already if nothing is left; nobody offers more.
        return left if left > 0 else self._patience

    def _ask(self, channel: str, known: _Channel, node: str, now: float) -> int:
        if known.asked and now - known.since >= self._patience:
            known.asked = 0
        missing = self._waiting(channel) - known.asked
        if missing > 0:
            known.asked, known.since = known.asked + missing, now
            return missing
        if len(known.nodes) >= _MOST and node not in known.nodes:
            del known.nodes[next(iter(known.nodes))]
        known.nodes[node] = None
        return 0
