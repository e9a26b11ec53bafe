"""The permission to close connections."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Creates no table: the model has the permission only."""

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Connection",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
            ],
            options={
                "verbose_name": "WebSocket connection",
                "verbose_name_plural": "WebSocket connections",
                "permissions": (
                    ("close_connection", "Can close WebSocket connections"),
                ),
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
