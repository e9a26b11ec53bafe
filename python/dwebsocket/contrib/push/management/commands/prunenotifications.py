"""``manage.py prunenotifications``: delete expired notifications."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db import router
from django.db.models import Q
from django.utils import timezone

from dwebsocket.contrib.push.models import Notification

__all__ = ("Command",)


class Command(BaseCommand):
    """Deletes notifications in small batches, so that rows are not locked for long."""

    help = "Delete the notifications that have expired; for a daily job."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--older-than",
            type=float,
            metavar="DAYS",
            help="also delete those sent more than so many days ago, expired or not",
        )
        parser.add_argument(
            "--batch", type=int, default=1000, help="rows to delete at a time (1000)"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete the chosen notifications, and print their number."""
        now = timezone.now()
        chosen = Q(expires__lte=now)
        if options["older_than"] is not None:
            chosen |= Q(created__lte=now - timedelta(days=options["older_than"]))
        # A replica may still have rows that were deleted a moment ago.
        objects = Notification.objects.using(router.db_for_write(Notification))
        found = objects.filter(chosen).order_by("pk")
        if options["dry_run"]:
            self.stdout.write(f"{found.count()} to delete")
            return
        deleted, size = 0, max(1, options["batch"])
        while keys := list(found.values_list("pk", flat=True)[:size]):
            deleted += objects.filter(pk__in=keys).delete()[0]
        self.stdout.write(f"{deleted} deleted")
