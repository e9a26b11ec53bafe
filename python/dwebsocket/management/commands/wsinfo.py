"""Show the processes, connections and groups of the site in a terminal."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from dwebsocket import monitor
from dwebsocket.conf import settings
from dwebsocket.monitor.figures import views_of

__all__ = ("Command",)


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise ArgumentTypeError("a number of seconds from 0.1 to 3600")
    return seconds


def _rows(word: str) -> int:
    if not word.isdecimal() or not 0 <= int(word) <= 500:
        raise ArgumentTypeError("a number from 0 to 500")
    return int(word)


class Command(BaseCommand):
    """``manage.py wsinfo``."""

    help = (
        "Shows the processes, totals, connections and groups of the site: those of "
        "this machine, and over the broker those of the others. Run it as the user of "
        "the server."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the arguments."""
        parser.add_argument(
            "--watch",
            nargs="?",
            type=_seconds,
            const=2.0,
            metavar="SECONDS",
            help="show it again and again, every 2 seconds by default",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument(
            "--rows",
            type=_rows,
            default=20,
            help="the most connections, and the most groups (default: 20)",
        )
        parser.add_argument(
            "--search",
            default="",
            help="only connections with this text in path, address, user or group, and "
            "only groups with it in their name",
        )
        parser.add_argument(
            "--machine", action="store_true", help="do not ask other machines"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the figures, once or again and again."""
        wait = options["watch"]
        before: _Reading | None = None
        try:
            while True:
                found = _ask(options)
                now = time.monotonic(), found.site.parts
                if options["json"]:
                    text = json.dumps(found.plain())
                else:
                    text = "\n".join(found.lines(_rates(before, now)))
                if wait is not None and not options["json"]:
                    self._clear()
                self.stdout.write(text)
                self.stdout.flush()
                if wait is None:
                    return
                before = now
                time.sleep(wait)
        except KeyboardInterrupt:
            return

    def _clear(self) -> None:
        if self.stdout.isatty():
            # To the upper left corner, and remove what is below (ECMA-48).
            self.stdout.write("\x1b[H\x1b[2J", ending="")


def _ask(options: Mapping[str, Any]) -> Found:
    scope: monitor.Scope = "machine" if options["machine"] else "site"
    rows = options["rows"]
    search = options["search"]
    try:
        site = monitor.site(scope)
        if not site.machines:
            raise CommandError(_nobody())
        most = max(rows, 1)
        connections = monitor.connections("", most, search=search, scope=scope)
        groups = monitor.groups("", most, search=search, scope=scope)
    except PermissionError as error:
        raise CommandError(
            f"The figures belong to another user: {error}. Run this command as the "
            "user of the server, e.g. with sudo -u www-data."
        ) from error
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error
    return Found(site, connections, groups, rows)


def _nobody() -> str:
    where = (
        "DWEBSOCKET['MONITOR_DIRECTORY'] is False"
        if settings.MONITOR_DIRECTORY is False
        else "no process on this machine has had a WebSocket yet"
    )
    broker = (
        "no broker is set" if settings.BROKER is None else "the broker has no answer"
    )
    return f"Nobody answers: {where}, and {broker}."


#: The time, and the counters by what keeps them.
_Reading: TypeAlias = tuple[float, Mapping[str, monitor.Counters]]


def _rates(before: _Reading | None, now: _Reading) -> Mapping[str, float]:
    """Return how fast counters have risen since the time before, for each second.

    A part of the site that has answered only once has no rate yet.
    """
    if before is None:
        return {}
    seconds = max(now[0] - before[0], 0.001)
    pairs = [(before[1][key], part) for key, part in now[1].items() if key in before[1]]
    names = ("opened", "received_messages", "sent_messages")
    return {
        name: sum(max(getattr(new, name) - getattr(old, name), 0) for old, new in pairs)
        / seconds
        for name in names
        if pairs
    }


@dataclasses.dataclass(frozen=True)
class Found:
    """What the processes have answered.

    Args:
        site: Their figures.
        connections: A page of connections.
        groups: A page of groups.
        rows: The most rows to show of each.
    """

    site: monitor.Site
    connections: monitor.Connections
    groups: monitor.Groups
    rows: int

    def plain(self) -> dict[str, Any]:
        """Return what JSON can express."""
        counters = dataclasses.asdict(self.site.counters)
        # JSON has no infinite number.
        trips = counters["round_trips"]
        trips["bounds"] = [b if b != float("inf") else None for b in trips["bounds"]]
        return {
            "processes": [dataclasses.asdict(one) for one in self.site.processes],
            "totals": counters,
            "connections": [
                dataclasses.asdict(row) for row in self.connections.rows[: self.rows]
            ],
            "groups": [row._asdict() for row in self.groups.rows[: self.rows]],
        }

    def lines(self, rates: Mapping[str, float]) -> Iterator[str]:
        """Return the lines to print."""
        yield from self._processes()
        yield ""
        yield from self._totals(rates)
        if self.rows:
            yield ""
            yield from self._connections()
            yield ""
            yield from self._groups()

    def _processes(self) -> Iterator[str]:
        yield from _table(
            [
                "PROCESS",
                "MACHINE",
                "PID",
                "SINCE",
                "CONNECTIONS",
                "OUTBOX",
                "INBOX",
                "BROKER",
                "STATE",
            ],
            [
                (
                    one.name[:8],
                    one.machine,
                    one.pid,
                    _ago(one.started),
                    one.connections,
                    one.outbox_messages,
                    one.inbox_messages,
                    one.broker or "?",
                    _state(one),
                )
                for one in self.site.processes
            ],
        )

    def _totals(self, rates: Mapping[str, float]) -> Iterator[str]:
        counters = self.site.counters
        open_now = sum(one.connections for one in self.site.processes)

        def fast(name: str) -> str:
            return f" ({rates[name]:,.1f}/s)" if name in rates else ""

        yield (
            f"connections: {open_now:,} open, {counters.opened:,} opened"
            f"{fast('opened')}, closed {_parts(counters.closed)}, "
            f"refused {_parts(counters.refused)}"
        )
        yield (
            f"messages:    {counters.received_messages:,} received"
            f"{fast('received_messages')}, {counters.sent_messages:,} sent"
            f"{fast('sent_messages')}, dropped {_parts(counters.dropped)}, "
            f"{counters.lost:,} lost"
        )
        yield (
            f"bytes:       {counters.received_bytes:,} received, "
            f"{counters.sent_bytes:,} sent"
        )
        views = sorted(views_of(self.site.processes).items())
        kinds = " + ".join(f"{count:,} {_view(*kind)}" for kind, count in views)
        yield (
            f"views:       {kinds or '0'} open, "
            f"{counters.view_errors:,} ended with an exception"
        )

    def _connections(self) -> Iterator[str]:
        rows = self.connections.rows[: self.rows]
        yield from _table(
            [
                "CONNECTION",
                "USER",
                "ADDRESS",
                "SINCE",
                "IN",
                "OUT",
                "RTT",
                "OUTBOX",
                "INBOX",
                "VIEW",
                "PATH",
            ],
            [
                (
                    f"{one.process[:8]}:{one.id}",
                    one.user or "-",
                    one.address or "-",
                    _ago(one.since),
                    one.received_messages,
                    one.sent_messages,
                    "-" if one.round_trip is None else f"{one.round_trip * 1e3:.1f}ms",
                    one.outbox_messages,
                    one.inbox_messages,
                    _view(one.view, one.transport),
                    _clean(one.path),
                )
                for one in rows
            ],
        )
        if self.connections.after:
            yield "... and more"

    def _groups(self) -> Iterator[str]:
        rows = self.groups.rows[: self.rows]
        yield from _table(
            ["MEMBERS", "PROCESSES", "GROUP"],
            [(one.members, one.processes, _clean(one.name)) for one in rows],
        )
        if self.groups.after:
            yield "... and more"


def _state(process: monitor.Process) -> str:
    if process.stopping:
        return "stopping"
    return "ok" if process.answered or not process.connections else "no answer"


def _view(view: str, transport: str) -> str:
    """Return in what a view runs, and a transport that is no socket."""
    return f"{view or '-'}{' (queue)' if transport == 'queue' else ''}"


def _clean(text: str) -> str:
    """Return a text that cannot steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _ago(at: float) -> str:
    seconds = int(max(time.time() - at, 0))
    return str(datetime.timedelta(seconds=seconds))


def _parts(counts: Mapping[str, int]) -> str:
    parts = [f"{count:,} ({name})" for name, count in counts.items() if count]
    return " + ".join(parts) or "0"


def _table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    texts = [titles, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
