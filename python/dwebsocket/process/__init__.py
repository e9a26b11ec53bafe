"""What belongs to one process of the system: its end, its log, its threads."""

from __future__ import annotations
