"""The tests' settings, with the database that the environment names."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.python.testing.views"
DATABASES = {"default": json.loads(os.environ["TESTING_DATABASE"])}
