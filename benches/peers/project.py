"""This package, and dwebsocket 0.5.12: views in ``benches/project`` under gunicorn."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace

import common

from .base import CONNECTIONS, HERE, SERVERS, PythonPeer
from .commands import gunicorn, uvicorn


@dataclass(frozen=True, kw_only=True)
class Package(PythonPeer):
    """This package, built from the tree that the benchmarks lie in."""

    def prepare(self) -> None:
        """Install the packages, and build this one."""
        super().prepare()
        try:
            common.install_package(self.interpreter)
        except (OSError, subprocess.CalledProcessError) as error:
            raise self.error(f"the package cannot be built: {error}") from error


VARIABLES = {
    "DJANGO_SETTINGS_MODULE": "settings",
    "BENCH_URLCONF": "group_urls",
    "BENCH_COMPRESSION": "off",
}
PROJECT = common.HERE / "project"

# Keepalive of both: the package's default. A view in a thread has its own thread, not
# one of gunicorn's 200.
OURS = Package(
    name="ours",
    title="dwebsocket-rs, gthread",
    group="ours",
    threads=True,
    packages=["Django", "gunicorn", "maturin"],
    words=gunicorn("wsgi", "gthread", "--threads", "200"),
    directory=PROJECT,
    variables=VARIABLES,
)
OURS_GEVENT = Package(
    name="ours-gevent",
    title="dwebsocket-rs, gevent",
    group="ours",
    packages=["Django", "gunicorn[gevent]", "maturin", "gevent"],
    words=gunicorn("wsgi", "gevent"),
    directory=PROJECT,
    variables=VARIABLES,
)
OURS_ASYNC = Package(
    name="ours-async",
    title="dwebsocket-rs, async views",
    group="ours",
    packages=["Django", "gunicorn", "maturin", "uvloop"],
    words=gunicorn("wsgi", "gthread", "--threads", "8"),
    directory=PROJECT,
    variables=VARIABLES | {"BENCH_URLCONF": "async_urls"},
)
OURS_CLASS = Package(
    name="ours-class",
    title="dwebsocket-rs, classes",
    group="ours",
    packages=["Django", "gunicorn", "maturin"],
    words=gunicorn("wsgi", "gthread", "--threads", "8"),
    directory=PROJECT,
    variables=VARIABLES | {"BENCH_URLCONF": "class_urls"},
)
# Keepalive: it has none. Each view occupies a thread of gunicorn's pool, which starts
# threads when they are needed. It waits with select(), so it serves about 1,000
# connections. On CPython 3.12 Django 3.0 needs the ``distutils`` of setuptools, and
# 3.13 no longer has the module ``cgi``.
OLD = PythonPeer(
    name="old",
    title="dwebsocket 0.5.12, gthread",
    group="old",
    threads=True,
    packages=["dwebsocket", "Django", "gunicorn", "six"],
    pins=HERE / "versions-old.txt",
    words=gunicorn("wsgi", "gthread", "--threads", str(CONNECTIONS)),
    directory=PROJECT,
    variables={"DJANGO_SETTINGS_MODULE": "settings"},
)
# The same views, and the same threads, behind uvicorn, which gives the engine its
# sockets.
OURS_UVICORN = Package(
    name="ours-uvicorn",
    title="dwebsocket-rs, uvicorn",
    group="ours",
    threads=True,
    packages=["Django", "uvicorn[standard]", "maturin"],
    words=uvicorn("asgi:application"),
    directory=PROJECT,
    variables=VARIABLES,
)
# uvicorn keeps its sockets, and carries the messages over a queue.
OURS_UVICORN_QUEUE = Package(
    name="ours-uvicorn-queue",
    title="dwebsocket-rs, uvicorn by queue",
    group="ours",
    threads=True,
    packages=["Django", "uvicorn[standard]", "maturin"],
    words=uvicorn("asgi:queued"),
    directory=PROJECT,
    variables=VARIABLES,
)
# Behind uvicorn with asynchronous views, which most of its sites have.
OURS_UVICORN_ASYNC = replace(
    OURS_UVICORN,
    name="ours-uvicorn-async",
    title="dwebsocket-rs, uvicorn, async views",
    threads=False,
    variables=OURS_ASYNC.variables,
)
OURS_UVICORN_QUEUE_ASYNC = replace(
    OURS_UVICORN_QUEUE,
    name="ours-uvicorn-queue-async",
    title="dwebsocket-rs, uvicorn by queue, async views",
    threads=False,
    variables=OURS_ASYNC.variables,
)
# The consumers of "channels-uvicorn", as views.
OURS_CHANNELS = Package(
    name="ours-channels",
    title="Channels as views, gthread",
    group="ours",
    packages=["channels", "Django", "gunicorn", "maturin", "msgpack", "uvloop"],
    words=gunicorn("channels_app:wsgi", "gthread", "--threads", "8"),
    directory=SERVERS,
    variables={"BENCH_AS_VIEW": "1"},
)
