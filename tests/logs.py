"""What the log of a program says that must not be in it."""

from __future__ import annotations

import re

#: Ctrl-C that reached a finalizer. The interpreter prints it there, and goes on, so it
#: is no fault of the program.
_INTERRUPTED = re.compile(
    r"^Exception ignored .*\n(?:Traceback .*\n)?(?: .*\n)*KeyboardInterrupt: *\n",
    re.MULTILINE,
)


def without_interrupts(text: str) -> str:
    """Return a log without the traces of Ctrl-C in finalizers."""
    return _INTERRUPTED.sub("", text)
