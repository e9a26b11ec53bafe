"""Migrations of ``dwebsocket.contrib.monitor``."""
