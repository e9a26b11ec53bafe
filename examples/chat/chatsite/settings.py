"""Settings of the demo. It needs no database, no migrations and no secrets.

To use the demo from a phone in the same network, run ``python manage.py runserver
0.0.0.0:8000`` and open the address of this computer. If the site has another name, set
the environment variable ``CHAT_HOSTS=chat.example.org,chat.example.net``. Several
processes (gunicorn's workers, say) need a broker:
``CHAT_BROKER=redis://localhost:6379/0``.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


def own_addresses() -> list[str]:
    """Return the names and addresses by which other devices reach this computer."""
    addresses = [socket.gethostname()]
    # Connecting a UDP socket sends nothing; it only picks the outgoing interface.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            addresses.append(probe.getsockname()[0])
        except OSError:
            pass  # no network: only this computer can reach the site
    return addresses


DEBUG = True
# A new key for each process: nothing signed here is needed for longer.
SECRET_KEY = secrets.token_urlsafe(50)
# With "*", any web site could point a name of its own at this server.
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    ".local",
    *own_addresses(),
    *filter(None, os.environ.get("CHAT_HOSTS", "").split(",")),
]

INSTALLED_APPS = [
    "django.contrib.staticfiles",
    "dwebsocket",
    "dwebsocket.contrib.chat",
    "chatsite",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "chatsite.urls"
WSGI_APPLICATION = "chatsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
    }
]
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "collected"
TIME_ZONE = "UTC"
USE_TZ = True

DWEBSOCKET = {
    "BROKER": os.environ.get("CHAT_BROKER") or None,
    "CHAT": {
        # Every visitor may come in, under a name of their choice.
        "PERMISSIONS": "dwebsocket.contrib.chat.Guests",
        "ROOMS": ["lobby"],
    },
}
