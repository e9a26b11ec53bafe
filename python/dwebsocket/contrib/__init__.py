"""Apps for common cases, ready to include: ``contrib.chat`` and ``contrib.push``."""
