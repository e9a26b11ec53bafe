"""The session of a page: waiting and new notifications, and acknowledgements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db import router

from dwebsocket.exceptions import WebSocketClosed
from dwebsocket.session import Refused, Session

from .conf import push_settings
from .models import Notification, page_id
from .sending import group_of

__all__ = ("PushSession",)

#: A number that is too large for JavaScript's.
_LONG = re.compile(r"[0-9]{16,19}", re.ASCII)

#: The most notifications that a page may acknowledge in one message.
MAX_ACKNOWLEDGED = 1_000
#: The price in points (Session.membership_rate) of asking for all that waits.
HELLO = 20


class PushSession(Session):
    """The session of a page of one user, who must be logged in."""

    def __init__(self, websocket: Any, request: Any) -> None:
        super().__init__(websocket, request)
        self.user_id: Any = request.user.pk
        self.pages = group_of(self.user_id)

    def on_open(self) -> None:
        """Join the user's pages."""
        # Join before the page asks for what waits, so that it misses nothing. The page
        # orders the notifications, and shows one that comes both ways once.
        self.websocket.join(self.pages.names[0], history=0, presence=False)

    def may_publish(self, group: str, data: Any) -> bool:
        """Return False: only the server sends to the group."""
        return False

    def on_data(self, data: Any) -> None:
        """Handle ``{"push": "hello"}`` or ``{"push": "taken", "ids": [..]}``.

        Raises:
            Refused: The data is neither of these.
        """
        wish = data.get("push") if isinstance(data, dict) else None
        if wish == "hello":
            # The answer is long to read and to send, and a page asks for it once.
            self._spend(HELLO)
            self._send_waiting()
        elif wish == "taken":
            self._take(_ids(data.get("ids")))
        else:
            raise Refused("invalid", 'a "push" of "hello" or "taken" is needed')

    def _mine(self) -> Any:
        # Read the database that notify() writes to: a replica may lag behind, and the
        # page would miss a notification.
        using = router.db_for_write(Notification)
        return Notification.objects.using(using).filter(user_id=self.user_id)

    def _send_waiting(self) -> None:
        try:
            for batch in self._batches():
                frames = [notification.as_frame() for notification in batch]
                more = len(batch) == push_settings.BATCH
                told = {"push": "waiting", "notifications": frames, "more": more}
                self.send_data(told)
        except WebSocketClosed:
            raise
        except Exception:
            # The page shows no new notification before the last batch has come. With a
            # new connection, it asks again.
            self.websocket.close(1013, "try again later")
            raise

    def _batches(self) -> Iterator[list[Notification]]:
        """Yield the waiting notifications; the last batch is incomplete or empty."""
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
        # The user's other pages need not show these notifications any longer.
        told = [page_id(key) for key in ids]
        self.pages.send_json({"taken": told}, exclude=self.websocket)


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or len(value) > MAX_ACKNOWLEDGED:
        raise Refused("invalid", f"a list of at most {MAX_ACKNOWLEDGED} ids is needed")
    return [_key(item) for item in value]


def _key(item: Any) -> int:
    """Return the primary key of an id as :func:`page_id` has made it."""
    key = int(item) if isinstance(item, str) and _LONG.fullmatch(item) else item
    if type(key) is not int or not 0 < key < 1 << 63 or page_id(key) != item:
        raise Refused("invalid", "an id is a whole number")
    return key
