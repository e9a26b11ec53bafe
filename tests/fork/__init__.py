"""What fork, exec and the interpreter's end do to open WebSockets."""

from __future__ import annotations
