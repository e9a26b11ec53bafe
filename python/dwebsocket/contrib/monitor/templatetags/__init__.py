"""Template tags of ``dwebsocket.contrib.monitor``."""
