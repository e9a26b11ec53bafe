"""The WebSocket that a view talks to, and the decorator of the same name.

``dwebsocket.websocket`` is both: a module, and a decorator::

    @dwebsocket.websocket
    def echo(request): ...

    isinstance(request.websocket, dwebsocket.websocket.WebSocket)

See :func:`dwebsocket.decorators.websocket` for its arguments.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from .sync import WebSocket

__all__ = ("WebSocket",)


class _Module(types.ModuleType):
    """This module, which can be called as the decorator."""

    def __call__(
        self, view: Any = None, /, *, subprotocols: Any = None, **overrides: Any
    ) -> Any:
        """Let a view talk WebSocket; see :func:`dwebsocket.decorators.websocket`."""
        # Imported late: it knows of this module.
        from dwebsocket import decorators

        decorate: Any = decorators.websocket
        return decorate(view, subprotocols=subprotocols, **overrides)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Module
