"""The waiting notifications in Django's admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from .models import Notification

__all__ = ("NotificationAdmin",)


if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Notification]
else:
    _Base = admin.ModelAdmin


@admin.register(Notification)
class NotificationAdmin(_Base):
    """Shows and deletes notifications; only ``notify()`` makes them and tells pages."""

    list_display = ("id", "user", "created", "expires")
    list_filter = ("created", "expires")
    list_select_related = ("user",)
    date_hierarchy = "created"
    raw_id_fields = ("user",)
    ordering = ("-pk",)

    def has_add_permission(self, request: object) -> bool:
        """Return False: ``notify()`` makes notifications."""
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        """Return False: a page may have the notification already."""
        return False
