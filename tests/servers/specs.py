"""How each server is started, stopped, and what it may write into its log."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .client import Address

APP = "tests.servers.site.wsgi"
ASGI_APP = "tests.servers.site.asgi"
SITE = Path(__file__).resolve().parent / "site"

#: Lines of ordinary work: requests and the server's own comings and goings.
_DJANGO = r'^\[\d\d/\w{3}/\d{4} [\d:]+\] "[A-Z]+ \S+ HTTP/1\.[01]" [1-4]\d\d \d+$'
_RELOADER = (
    r"^INFO django\.utils\.autoreload: |^Performing system checks|^System check id"
    r"|^\w+ \d\d, \d{4} - |^Django version |^Starting dev|^Quit the server"
    r"|^WARNING: This is a development server|^For more information on production"
)
_COMBINED = r'- - \[[^]]+\] "[A-Z]+ \S+ HTTP/1\.[01]" [1-4]\d\d '
_GUNICORN = r"^\[[^]]+\] \[\d+\] \[INFO\] "
_UWSGI = (
    r"^\[pid: \d+\|app: "
    r"|^(SIGINT/SIGTERM|SIGTERM) received\.\.\.killing workers"
    r"|^gateway .* has been buried|^worker \d+ buried after|^goodbye to uWSGI"
    # The router's remarks on a client or a worker that was quicker to close than it.
    r"|hr_(instance_)?(read|write)\(\): (Connection reset by peer|Broken pipe)"
    r"|^worker \d+ .*gracefully|^VACUUM: |^\.\.\.gracefully killing workers"
    r"|^Gracefully killing worker|^killing gateway"
)


class Spec(NamedTuple):
    """One way to serve the site.

    Args:
        argv: Returns the command line for an interpreter and an address.
        stop: The signal that the server calls graceful.
        harmless: Log lines that are no errors.
        gevent: Whether views run in greenlets of the server's own thread.
        signal_worker: Whether the signal goes to the serving process only.
        statuses: What it may exit with after ``stop``.
        relayed: Whether the client's socket ends in another process than the worker.
        queued: Whether an ASGI server keeps its sockets.
    """

    argv: Callable[[str, Address], list[str]]
    stop: int = signal.SIGTERM
    harmless: re.Pattern[str] = re.compile("(?!)")
    gevent: bool = False
    signal_worker: bool = False
    statuses: tuple[int, ...] = (0,)
    relayed: bool = False
    queued: bool = False


def _host(address: Address) -> str:
    return f"unix:{address}" if isinstance(address, str) else "{}:{}".format(*address)


def runserver(*options: str, signal_worker: bool = False) -> Spec:
    """Return the spec of Django's development server."""

    def argv(python: str, address: Address) -> list[str]:
        return [python, "-m", "django", "runserver", *options, _host(address)]

    # A reloader kills its child a quarter of a second after Ctrl-C, which a loaded
    # machine notices; the signal goes to the child alone, and the reloader follows.
    return Spec(
        argv,
        signal.SIGINT,
        re.compile(f"{_DJANGO}|{_RELOADER}"),
        signal_worker=signal_worker,
    )


def gunicorn(worker: str, *options: str) -> Spec:
    """Return the spec of a gunicorn with one worker process."""

    def argv(python: str, address: Address) -> list[str]:
        return [
            *(python, "-m", "gunicorn", APP, "--bind", _host(address)),
            *("--worker-class", worker, "--workers", "1", "--access-logfile", "-"),
            *options,
        ]

    harmless = re.compile(f"{_GUNICORN}|{_COMBINED}")
    return Spec(argv, signal.SIGTERM, harmless, gevent=worker == "gevent")


def uwsgi(*listen: str, relayed: bool = False) -> Spec:
    """Return the spec of a uWSGI with one process; ``listen`` has its options."""

    def argv(python: str, address: Address) -> list[str]:
        prefix = Path(python).parent
        return [
            *(str(prefix / "uwsgi"), "--module", APP, "--virtualenv"),
            *(str(prefix.parent), "--master", "--need-app", "--die-on-term"),
            *(option.replace("ADDRESS", _host(address)) for option in listen),
        ]

    return Spec(argv, signal.SIGTERM, re.compile(_UWSGI), relayed=relayed)


def script(name: str, stop: int, harmless: str, *, gevent: bool = False) -> Spec:
    """Return the spec of a server that is started by a script of the site's."""

    def argv(python: str, address: Address) -> list[str]:
        assert isinstance(address, tuple)
        return [python, "-m", f"tests.servers.site.{name}", str(address[1])]

    return Spec(argv, stop, re.compile(harmless), gevent=gevent)


def _waitress(python: str, address: Address) -> list[str]:
    listen = (
        f"--unix-socket={address}"
        if isinstance(address, str)
        else f"--listen={_host(address)}"
    )
    return [python, "-m", "waitress", listen, "--threads=1", f"{APP}:application"]


SPECS: dict[str, Spec] = {
    "runserver": runserver("--noreload"),
    "runserver-nothreading": runserver("--noreload", "--nothreading"),
    "runserver-autoreload": runserver(signal_worker=True),
    "gunicorn-sync": gunicorn("sync"),
    "gunicorn-sync-preload": gunicorn("sync", "--preload"),
    "gunicorn-gthread": gunicorn("gthread", "--threads", "1"),
    "gunicorn-gthread-8": gunicorn("gthread", "--threads", "8"),
    "gunicorn-gthread-preload": gunicorn("gthread", "--threads", "1", "--preload"),
    "gunicorn-gevent": gunicorn("gevent"),
    "gunicorn-gevent-preload": gunicorn(
        "gevent", "--preload", "--config", str(SITE / "patching.py")
    ),
    "gunicorn-gevent-preload-late": gunicorn("gevent", "--preload"),
    "uwsgi-http-socket": uwsgi("--http-socket", "ADDRESS", "--enable-threads"),
    "uwsgi-http": uwsgi(
        *("--http", "ADDRESS", "--http-websockets", "--http-raw-body"),
        "--enable-threads",
        relayed=True,
    ),
    "gevent-pywsgi": script(
        "serve_gevent", signal.SIGTERM, f"{_COMBINED}", gevent=True
    ),
    "cheroot": script(
        "serve_cheroot", signal.SIGINT, "^Keyboard Interrupt: shutting down"
    ),
    "waitress": Spec(
        _waitress,
        signal.SIGINT,
        re.compile("^INFO:waitress:|^Serving on |: Task queue depth is "),
    ),
    "werkzeug": script("serve_werkzeug", signal.SIGINT, f"{_COMBINED}|^INFO "),
}

#: Those on which the whole contract is run.
CONTRACT = ("runserver", "gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent")


# ASGI servers. The names that end in "-queue" leave the sockets to the server.

_UVICORN = (
    r"^INFO: |^\d{4}-\d\d-\d\d .* INFO"
    # What it has to say of a client that is gone in the middle of a handshake.
    r"|^WARNING:  Invalid HTTP request received"
)
_HYPERCORN = r"^\[[^]]+\] \[\d+\] \[INFO\] |^\[[^]]+\] \d+ .* - - "
_DAPHNE = r" INFO |^INFO |- - \[[^]]+\] \"|^\d{4}-\d\d-\d\d [^ ]+ INFO"
_GRANIAN = r"^\[INFO\] "


def asgi(
    module: str, *words: str, harmless: str, statuses: tuple[int, ...] = (0,)
) -> Spec:
    """Return the spec of an ASGI server that is a module of Python's.

    Args:
        module: The module.
        words: Its arguments; HOST and PORT stand for the address.
        harmless: Lines of ordinary work.
        statuses: What it may exit with.
    """

    def argv(python: str, address: Address) -> list[str]:
        assert isinstance(address, tuple)
        host, port = address[0], str(address[1])
        arguments = (w.replace("HOST", host).replace("PORT", port) for w in words)
        return [python, "-m", module, *arguments]

    return Spec(argv, signal.SIGTERM, re.compile(harmless), statuses=statuses)


def _uvicorn(application: str, *words: str) -> Spec:
    return asgi(
        "uvicorn",
        *(f"{ASGI_APP}:{application}", "--host", "HOST", "--port", "PORT"),
        *words,
        harmless=_UVICORN,
        # It raises the signal again, for a supervisor.
        statuses=(0, -signal.SIGTERM),
    )


def _gunicorn_asgi(application: str, *words: str) -> Spec:
    return asgi(
        "gunicorn",
        *(f"{ASGI_APP}:{application}", "--bind", "HOST:PORT"),
        *("--worker-class", "asgi", "--workers", "1", *words),
        harmless=f"{_GUNICORN}|{_COMBINED}",
    )


def _hypercorn(application: str, *words: str) -> Spec:
    return asgi(
        "hypercorn",
        *(f"{ASGI_APP}:{application}", "--bind", "HOST:PORT", *words),
        harmless=_HYPERCORN,
    )


#: By the names of docs/servers.md.
_ASGI: dict[str, Spec] = {
    "uvicorn": _uvicorn("application"),
    "uvicorn-asyncio": _uvicorn(
        "application", "--loop", "asyncio", "--http", "h11", "--ws", "wsproto"
    ),
    "uvicorn-queue": _uvicorn("queued"),
    "uvicorn-wsproto-queue": _uvicorn("queued", "--ws", "wsproto"),
    "gunicorn-asgi": _gunicorn_asgi("application"),
    "gunicorn-asgi-asyncio": _gunicorn_asgi("application", "--asgi-loop", "asyncio"),
    "gunicorn-asgi-queue": _gunicorn_asgi("queued"),
    "hypercorn": _hypercorn("application"),
    "hypercorn-uvloop": _hypercorn("application", "--worker-class", "uvloop"),
    "hypercorn-queue": _hypercorn("queued"),
    "daphne": asgi(
        "daphne",
        *("-b", "HOST", "-p", "PORT", f"{ASGI_APP}:application"),
        harmless=_DAPHNE,
    ),
    "granian": asgi(
        "granian",
        *("--interface", "asgi", "--host", "HOST", "--port", "PORT"),
        *("--workers", "1", f"{ASGI_APP}:application"),
        harmless=_GRANIAN,
    ),
}
#: Those under which the engine has the sockets.
ADOPTING = (
    *("uvicorn", "uvicorn-asyncio", "gunicorn-asgi", "gunicorn-asgi-asyncio"),
    *("hypercorn", "hypercorn-uvloop"),
)

ASGI_SPECS = {
    name: spec._replace(queued=name not in ADOPTING) for name, spec in _ASGI.items()
}

#: The servers on which every kind of view is tested. Django's own views cannot use a
#: database under the one that is left out: their greenlets share its connection.
ALL_SPECS = SPECS | ASGI_SPECS
del ALL_SPECS["gunicorn-gevent-preload-late"]
