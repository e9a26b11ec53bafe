"""Import paths of the old package that stay."""

from __future__ import annotations
