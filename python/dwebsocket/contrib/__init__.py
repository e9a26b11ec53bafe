"""Ready-made apps: ``contrib.chat``, ``contrib.push`` and ``contrib.monitor``."""
