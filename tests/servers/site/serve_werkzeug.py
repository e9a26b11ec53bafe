"""Werkzeug's development server with one thread."""

from __future__ import annotations

import sys

from werkzeug.serving import run_simple

from .wsgi import application

run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=False)
