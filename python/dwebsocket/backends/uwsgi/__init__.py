"""Import paths of the old package, which still work."""

from __future__ import annotations
