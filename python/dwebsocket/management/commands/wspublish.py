"""Push a message from the command line."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from dwebsocket import _engine, hub, push
from dwebsocket._engine import Published
from dwebsocket.conf import settings

__all__ = ("Command",)


class Command(BaseCommand):
    """``manage.py wspublish``."""

    help = "Sends a message to the WebSockets of a group, of a user, or to all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the arguments."""
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument("--group", action="append", help="a group; may be repeated")
        target.add_argument("--user", help="the primary key of a user")
        target.add_argument("--all", action="store_true", help="every connection")
        parser.add_argument(
            "message", nargs="?", help="the message; '-' reads standard input"
        )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="the message is JSON")
        form.add_argument(
            "--binary", metavar="FILE", help="send a file as a binary message"
        )
        form.add_argument(
            "--disconnect",
            type=int,
            metavar="CODE",
            help="close the connections with this code instead of sending",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Send, and tell what became of it."""
        if not settings.BROKER:
            raise CommandError(
                "This command reaches the server's processes over a broker. Set "
                "DWEBSOCKET['BROKER'], e.g. 'redis://localhost:6379/0'."
            )
        try:
            published = self._publish(options)
        except (ValueError, TypeError) as error:
            raise CommandError(str(error)) from error
        if published.broker in ("sent", "stored"):
            self.stdout.write(f"handed to the broker ({published.broker})")
            return
        raise CommandError("the broker cannot be reached; the message was not sent")

    def _publish(self, options: dict[str, Any]) -> Published:
        if options["disconnect"] is not None:
            return self._disconnect(options)
        message = self._message(options)
        published: Published | None
        if options["group"]:
            published = hub.groups(*options["group"])._publish(
                hub.payload(message), None
            )
        elif options["user"]:
            published = push.to_user(options["user"], message)
        else:
            published = push.to_all(message)
        assert published is not None
        return published

    def _disconnect(self, options: dict[str, Any]) -> Published:
        hub.connect()
        code = options["disconnect"]
        if options["group"]:
            return _engine.disconnect("group", options["group"], code)
        if options["user"]:
            return _engine.disconnect("user", [options["user"]], code)
        return _engine.disconnect("all", [], code)

    def _message(self, options: dict[str, Any]) -> Any:
        if options["binary"]:
            try:
                return Path(options["binary"]).read_bytes()
            except OSError as error:
                raise CommandError(str(error)) from error
        message = options["message"]
        if message is None:
            raise CommandError("a message is needed, or '-' to read one")
        if message == "-":
            message = sys.stdin.read()
        if not options["json"]:
            return message
        try:
            data = json.loads(message)
        except ValueError as error:
            raise CommandError(f"the message is not JSON: {error}") from error
        # A JSON string must not be taken for plain text.
        return data if not isinstance(data, str) else json.dumps(data)
