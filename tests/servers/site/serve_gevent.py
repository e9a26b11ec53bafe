"""gevent's WSGI server, as its documentation starts one in a patched process."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import signal  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from .wsgi import application  # noqa: E402

server = WSGIServer(("127.0.0.1", int(sys.argv[1])), application)
gevent.signal_handler(signal.SIGTERM, server.stop)
server.serve_forever()
