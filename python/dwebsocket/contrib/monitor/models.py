"""The permission to close connections. It needs a model, but no table."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = ("Connection",)


class Connection(models.Model):
    """What the permission is about; there are no such rows."""

    class Meta:
        """The permission, and a name for the list of permissions in the admin."""

        managed = False
        default_permissions = ()
        permissions = (("close_connection", "Can close WebSocket connections"),)
        verbose_name = _("WebSocket connection")
        verbose_name_plural = _("WebSocket connections")
