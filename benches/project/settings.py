"""The settings of a small project, the same for every package that is measured."""

from __future__ import annotations

import os
from typing import Any

SECRET_KEY = "benchmarks"
DEBUG = False
ALLOWED_HOSTS = ["*"]
# The hub's benchmarks have views that the old package cannot import.
ROOT_URLCONF = os.environ.get("BENCH_URLCONF", "urls")
WSGI_APPLICATION = "wsgi.application"
USE_TZ = True
INSTALLED_APPS: list[str] = []
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if os.environ.get("BENCH_ONE_USER"):
    MIDDLEWARE.append("group_views.OneUser")
DWEBSOCKET: dict[str, Any] = {
    "COMPRESSION": os.environ.get("BENCH_COMPRESSION", "shared"),
    # Three quarters of 20,000 descriptors, the default, leave no room for a publisher
    # beside 15,000 members.
    "MAX_CONNECTIONS": 19_000,
    "BROKER": os.environ.get("BENCH_BROKER"),
    "GROUPS": {"kept.*": {"history": 1000}},
}
if "BENCH_SPREAD" in os.environ:
    DWEBSOCKET["SHUTDOWN_SPREAD"] = float(os.environ["BENCH_SPREAD"])
if "BENCH_STAFF" in os.environ:
    # The page for staff, with users in this database. The clients answer no pings.
    DWEBSOCKET["PING_INTERVAL"] = None
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["BENCH_STAFF"],
        }
    }
    apps = ("admin", "auth", "contenttypes", "messages", "sessions", "staticfiles")
    INSTALLED_APPS += ["dwebsocket.contrib.monitor", "dwebsocket"]
    INSTALLED_APPS += [f"django.contrib.{app}" for app in apps]
    MIDDLEWARE += [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    context = (
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    )
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": list(context)},
        }
    ]
    STATIC_URL = "static/"
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
