"""Real WebSocket clients against gunicorn, directly and through nginx."""
