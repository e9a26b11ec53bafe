"""Ready-made apps for common cases: ``contrib.chat`` and ``contrib.push``."""
