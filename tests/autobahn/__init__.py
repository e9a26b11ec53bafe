"""The Autobahn WebSocket test suite against an echo view under gunicorn."""
