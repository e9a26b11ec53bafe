"""The habits of asynchronous views: to whom their tasks send.

The engine knows the habit of a thread, but the tasks of many views share one. So each
view has a habit of its own, which its tasks inherit with their context.
"""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ("Habit", "serving")


class Habit:
    """Counts how often the tasks of a view have sent to others than the view's peer."""

    __slots__ = ("turns",)

    def __init__(self) -> None:
        self.turns = 0


#: The habit of the view that runs in this context; None outside of such views.
serving: ContextVar[Habit | None] = ContextVar("dwebsocket_serving", default=None)
