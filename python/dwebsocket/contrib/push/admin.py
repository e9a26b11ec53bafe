"""What waits for whom, in Django's admin."""

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
    """To look at and to delete: ``notify()`` makes new ones, and tells pages."""

    list_display = ("id", "user", "created", "expires")
    list_filter = ("created", "expires")
    list_select_related = ("user",)
    date_hierarchy = "created"
    raw_id_fields = ("user",)
    ordering = ("-pk",)

    def has_add_permission(self, request: object) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        """Nobody may: a page may have it already."""
        return False
