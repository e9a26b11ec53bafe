"""Push a message from the command line."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from dwebsocket import _engine, hub, push
from dwebsocket._engine import Published
from dwebsocket.conf import settings
from dwebsocket.hub.handles import publish_to
from dwebsocket.hub.messages import TargetKind

__all__ = ("Command",)


def _name(word: str) -> str:
    # An empty variable in a script must not name another target.
    if not word:
        raise ArgumentTypeError("must not be empty")
    return word


class Command(BaseCommand):
    """``manage.py wspublish``."""

    help = (
        "Sends a message to the WebSockets of a group, of a user, or to all. Exits "
        "with 1 if the broker cannot be reached."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the arguments."""
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument(
            "--group", type=_name, action="append", help="a group; may be repeated"
        )
        target.add_argument("--user", type=_name, help="the primary key of a user")
        target.add_argument("--all", action="store_true", help="every connection")
        parser.add_argument(
            "message", nargs="?", help="the message; '-' reads standard input"
        )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="the message is JSON")
        form.add_argument(
            "--binary",
            metavar="FILE",
            help="send a file as a binary message; '-' reads standard input",
        )
        form.add_argument(
            "--disconnect",
            type=int,
            metavar="CODE",
            help="close the connections with this code instead; the message, if there "
            "is one, is the reason",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Send the message, and print what the broker did with it."""
        try:
            broker = settings.BROKER
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if not broker:
            raise CommandError(
                "This command reaches the server's processes over a broker. Set "
                "DWEBSOCKET['BROKER'], e.g. 'redis://localhost:6379/0' or "
                "'nats://localhost'."
            )
        try:
            published = self._publish(options)
        except (ValueError, TypeError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        if published.broker in ("sent", "stored"):
            self.stdout.write(f"handed to the broker ({published.broker})")
        elif published.broker == "pending" and _engine.hub_flush(
            settings.BROKER_TIMEOUT
        ):
            self.stdout.write("handed to the broker (stored, after waiting for it)")
        else:
            # A waiting message is tried again until the process ends.
            raise CommandError(
                f"the broker {_engine.broker_address()} cannot be reached within "
                f"{settings.BROKER_TIMEOUT} seconds; perhaps the message was not sent"
            )

    def _publish(self, options: dict[str, Any]) -> Published:
        kind, targets = _targets(options)
        if options["disconnect"] is not None:
            reason = options["message"] or ""
            return hub.disconnect(kind, targets, options["disconnect"], reason)
        payload = _payload(options)
        if kind == "group":
            return publish_to(hub.groups(*targets), payload, [])
        return push.publish(kind, targets, payload)


def _targets(options: dict[str, Any]) -> tuple[TargetKind, list[str]]:
    if options["group"] is not None:
        return "group", list(options["group"])
    if options["user"] is not None:
        return "user", [push.key_of(options["user"])]
    return "all", []


def _payload(options: dict[str, Any]) -> hub.Payload:
    message = options["message"]
    if options["binary"] is not None:
        if message is not None:
            raise CommandError("give a message or --binary, not both")
        return _read_binary(options["binary"]), True, False
    if message is None:
        raise CommandError("a message is needed, or '-' to read one")
    if message == "-":
        message = sys.stdin.read()
    if not options["json"]:
        return message, False, False
    try:
        return hub.to_json(json.loads(message)), False, True
    except ValueError as error:
        raise CommandError(f"the message is not JSON: {error}") from error
    except RecursionError as error:
        raise CommandError(f"the message is nested too deeply: {error}") from error


def _read_binary(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(str(error)) from error
