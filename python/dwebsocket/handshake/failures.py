"""Tells whether a view failed because its ``request.websocket`` is None.

On plain HTTP ``request.websocket`` is None. A view written for WebSockets only fails
there, with an error that does not mention WebSockets. To tell such an error from other
mistakes of the view, this module reads the source of the frames in the traceback: the
value that the failed operation used must be None, and it must come from an attribute
``websocket``, through variables, arguments and attributes.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import re
import traceback
from types import FrameType

__all__ = ("needed",)

_NAME = "websocket"
_NO_ATTRIBUTE = re.compile(r"'NoneType' object has no attribute '(\w+)'")

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def needed(error: Exception) -> bool:
    """Return whether a view's error comes from ``request.websocket`` being None."""
    attribute = None
    if isinstance(error, AttributeError):
        # A failed assignment to an attribute sets neither error.name nor error.obj.
        message = _NO_ATTRIBUTE.match(str(error))
        if message is None:
            return False
        attribute = message.group(1)
    elif not isinstance(error, TypeError) or "NoneType" not in str(error):
        return False
    *steps, (frame, line) = traceback.walk_tb(error.__traceback__)
    trail = _Trail()
    for step in steps:
        trail.follow(*step)
    return trail.ends(frame, line, attribute)


@functools.lru_cache(maxsize=32)
def _parsed(path: str, lines: int) -> ast.Module | None:
    source = "".join(linecache.getlines(path))
    for _ in range(2):
        try:
            return ast.parse(source)
        except SystemError:
            # The parser of Python 3.11 cannot be entered again, which happens when the
            # garbage collector runs in it, and something logs a traceback then.
            continue
        except (SyntaxError, ValueError, RecursionError):
            return None
    return None


def _module(frame: FrameType) -> ast.Module | None:
    """Return the parsed source of a frame's file; None if it cannot be read."""
    path = frame.f_code.co_filename
    lines = linecache.getlines(path, frame.f_globals)
    return _parsed(path, len(lines)) if lines else None


def _on(node: ast.AST, line: int) -> bool:
    first, last = getattr(node, "lineno", None), getattr(node, "end_lineno", None)
    return first is not None and last is not None and first <= line <= last


class _Trail:
    """Follows ``request.websocket``, which is None, through a chain of calls.

    A name *holds* the WebSocket if its value is ``request.websocket``. An expression
    *carries* it if it is the result of a call that got the WebSocket as an argument.
    """

    def __init__(self) -> None:
        self._attributes = {_NAME}
        self._carried = False
        self._names: set[str] = set()
        self._carriers: set[str] = set()
        self._frame: FrameType | None = None

    def follow(self, frame: FrameType, line: int) -> None:
        """Go through a frame that called the next frame in this line."""
        nodes = self._enter(frame, line)
        self._carried = any(
            isinstance(node, ast.Call) and self._carries(node) for node in nodes
        )

    def ends(self, frame: FrameType, line: int, attribute: str | None) -> bool:
        """Return whether the operation that failed in this line used the WebSocket.

        Args:
            frame: The frame that failed.
            line: The line in the frame's file.
            attribute: The attribute that was looked up on None; None if another
                operation failed.
        """
        nodes = self._enter(frame, line)
        if attribute is None:
            return any(self._holds(node) for node in nodes)
        return any(
            isinstance(node, ast.Attribute)
            and node.attr == attribute
            and self._holds(node.value)
            for node in nodes
        )

    def _enter(self, frame: FrameType, line: int) -> list[ast.AST]:
        """Find the names in a frame that hold the WebSocket; return a line's nodes."""
        self._frame = frame
        self._names, self._carriers = set(), set()
        if self._carried:
            self._take_arguments(frame)
        module = _module(frame)
        if module is None:
            return []
        around: ast.AST = module
        for node in ast.walk(module):
            if isinstance(node, _Function) and _on(node, line):
                # Take the outermost function: inner functions see its variables.
                around = node
                break
        for _ in range(2):  # a = request.websocket; b = a
            for node in ast.walk(around):
                self._assign(node)
        for node in ast.walk(module):
            # self.socket = request.websocket, in another method
            if isinstance(node, ast.Assign) and self._holds_attribute(node.value):
                self._attributes |= {
                    target.attr
                    for target in node.targets
                    if isinstance(target, ast.Attribute)
                }
        return [node for node in ast.walk(around) if _on(node, line)]

    def _take_arguments(self, frame: FrameType) -> None:
        """Assume that each argument and attribute of ``self`` that is None holds it."""
        arguments = inspect.getargvalues(frame)
        self._names |= {name for name in arguments.args if self._is_none(name)}
        first = frame.f_locals.get(arguments.args[0]) if arguments.args else None
        self._attributes |= {
            name
            for name, value in getattr(first, "__dict__", {}).items()
            if value is None
        }

    def _assign(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value:
            targets, value = [node.target], node.value
        else:
            return
        held, carried = self._holds(value), self._carries(value)
        for target in targets:
            if isinstance(target, ast.Name):
                if held:
                    self._names.add(target.id)
                if carried:
                    self._carriers.add(target.id)
            elif isinstance(target, ast.Attribute) and held:
                self._attributes.add(target.attr)

    def _is_none(self, name: str) -> bool:
        frame = self._frame
        assert frame is not None
        if name in frame.f_locals:
            return frame.f_locals[name] is None
        return frame.f_globals.get(name, self) is None

    def _holds(self, node: ast.AST) -> bool:
        """Return whether an expression's value is the WebSocket."""
        if isinstance(node, ast.Attribute):
            return node.attr in self._attributes
        if isinstance(node, ast.Name):
            return node.id in self._names and self._is_none(node.id)
        if isinstance(node, ast.NamedExpr):
            return self._holds(node.value)
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "getattr"
            and any(
                isinstance(each, ast.Constant) and each.value == _NAME
                for each in node.args
            )
        )

    @staticmethod
    def _holds_attribute(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == _NAME

    def _carries(self, node: ast.AST) -> bool:
        """Return whether an expression is a call that gets the WebSocket."""
        if isinstance(node, ast.Name):
            return node.id in self._carriers
        if not isinstance(node, ast.Call):
            return False
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        if any(self._holds(each) or self._carries(each) for each in given):
            return True
        called = node.func
        return isinstance(called, ast.Attribute) and self._carries(called.value)
