"""Code about the process as a whole: its end, its log, its threads, its memory."""

from __future__ import annotations
