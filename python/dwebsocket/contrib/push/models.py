"""The model of notifications that no page has acknowledged yet."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

__all__ = ("Notification", "page_id")


#: The first whole number that a page may take for its neighbour.
_UNSAFE = 1 << 53


def page_id(key: int) -> int | str:
    """Return a primary key as pages get it: a text if JavaScript would round it.

    CockroachDB, for one, makes such keys.
    """
    return key if key < _UNSAFE else str(key)


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Queries for waiting and for expired notifications."""

    def waiting(self, now: datetime | None = None) -> NotificationQuerySet:
        """Return notifications that have not expired, in the order of sending."""
        now = now or timezone.now()
        fresh = models.Q(expires=None) | models.Q(expires__gt=now)
        return self.filter(fresh).order_by("pk")

    def expired(self, now: datetime | None = None) -> NotificationQuerySet:
        """Return expired notifications, which pages no longer get."""
        return self.filter(expires__lte=now or timezone.now())


class Notification(models.Model):
    """A notification for one user; deleted when a page has acknowledged it."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("user"),
    )
    payload = models.JSONField(_("payload"), encoder=DjangoJSONEncoder)
    created = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires = models.DateTimeField(_("expires"), null=True, blank=True, db_index=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        """Names for the admin."""

        verbose_name = _("notification")
        verbose_name_plural = _("notifications")

    def __str__(self) -> str:
        return f"{self.pk}"

    def as_frame(self) -> dict[str, Any]:
        """Return the notification as a page gets it."""
        return {
            "id": page_id(self.pk),
            "payload": self.payload,
            "created": self.created,
        }
