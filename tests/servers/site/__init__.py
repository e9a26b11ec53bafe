"""The Django site that every server in these tests serves."""

from __future__ import annotations
