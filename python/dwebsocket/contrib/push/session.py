"""A page's conversation: what has waited for it, what comes, what it has taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import router

from dwebsocket.session import Refused, Session

from .conf import push_settings
from .models import Notification
from .sending import group_of

__all__ = ("PushSession",)

#: Notifications that a page may acknowledge in one message.
MAX_ACKNOWLEDGED = 1_000
#: What it costs to ask for all that waits (Session.membership_rate).
HELLO = 20


class PushSession(Session):
    """One page of one user, who must be logged in."""

    def __init__(self, websocket: Any, request: Any) -> None:
        super().__init__(websocket, request)
        self.user_id: Any = request.user.pk
        self.pages = group_of(self.user_id)

    def run(self) -> None:
        """Serve the page until it goes."""
        # First: nothing that is sent from now on can be missed. The page puts what
        # comes both ways in order, and shows it once.
        self.websocket.join(self.pages.names[0], history=0, presence=False)
        super().run()

    def may_publish(self, group: str, data: Any) -> bool:
        """Return False: what comes in the group is the server's."""
        return False

    def on_data(self, data: Any) -> None:
        """Take a wish: ``{"push": "hello"}`` or ``{"push": "taken", "ids": [..]}``.

        Raises:
            Refused: It is neither.
        """
        wish = data.get("push") if isinstance(data, dict) else None
        if wish == "hello":
            # All that waits is much to read and to send, and a page asks once.
            self._spend(HELLO)
            self._send_waiting()
        elif wish == "taken":
            self._take(_ids(data.get("ids")))
        else:
            raise Refused("invalid", 'a "push" of "hello" or "taken" is needed')

    def _mine(self) -> Any:
        # Where notify() writes: a replica may lag behind, and nobody would tell again.
        using = router.db_for_write(Notification)
        return Notification.objects.using(using).filter(user_id=self.user_id)

    def _send_waiting(self) -> None:
        for batch in self._batches():
            frames = [notification.as_frame() for notification in batch]
            more = len(batch) == push_settings.BATCH
            self.send_data({"push": "waiting", "notifications": frames, "more": more})

    def _batches(self) -> Iterator[list[Notification]]:
        """Return what waits, at last an incomplete (perhaps an empty) batch."""
        size, last = push_settings.BATCH, 0
        while True:
            batch = list(self._mine().waiting().filter(pk__gt=last)[:size])
            yield batch
            if len(batch) < size:
                return
            last = batch[-1].pk

    def _take(self, ids: list[int]) -> None:
        gone, _ = self._mine().filter(pk__in=ids).delete()
        if not gone:
            return
        # The user's other pages need not show them any longer.
        self.pages.send_json({"taken": ids}, exclude=self.websocket)


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or len(value) > MAX_ACKNOWLEDGED:
        raise Refused("invalid", f"a list of at most {MAX_ACKNOWLEDGED} ids is needed")
    if not all(type(item) is int and 0 < item < 1 << 63 for item in value):
        raise Refused("invalid", "an id is a whole number")
    return value
