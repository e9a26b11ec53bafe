"""The smallest settings of a Django project: no database, no migrations."""

from __future__ import annotations

import secrets

DEBUG = True
SECRET_KEY = secrets.token_urlsafe(50)
ROOT_URLCONF = "tutorial.urls"
WSGI_APPLICATION = "tutorial.wsgi.application"
INSTALLED_APPS = ["tutorial"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
    }
]
USE_TZ = True
