"""The examples of docs/testing.md are a project whose tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dwebsocket import testing
from dwebsocket.testing import AsyncClientWebSocket, ClientWebSocket

from . import pages
from .pages import ROOT

PAGE = ROOT / "docs" / "testing.md"

SETTINGS = """
from tests.settings import *

ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "shop"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write each block to the file that its first line names."""
    for block in pages.blocks(PAGE, "python"):
        named = re.match(r"# (\S+\.py)\n", block.code)
        assert named, block.name
        file = tmp_path / named[1]
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.code)
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop_settings.py").write_text(SETTINGS)
    return tmp_path


def run(project: Path, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, *args],
        cwd=project,
        env=os.environ
        | {
            "PYTHONPATH": f"{project}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "shop_settings",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(120)
def test_by_pytest(project: Path) -> None:
    args = ["-c", os.devnull, "--rootdir", str(project), "-p", "no:cacheprovider"]
    written = sum(
        len(re.findall(r"^ *(?:async )?def test_", block.code, re.MULTILINE))
        for block in pages.blocks(PAGE, "python")
    )
    output = run(project, "-m", "pytest", "-q", "--strict-markers", *args, "tests")
    assert re.search(rf"^{written} passed", output, re.MULTILINE), output


@pytest.mark.timeout(120)
def test_by_django(project: Path) -> None:
    # Named by files, because "tests" is this folder, too.
    output = run(project, "-m", "django", "test", "-p", "test_cases.py", "tests/")
    assert "Ran 3 tests" in output


def test_every_call_is_documented() -> None:
    table = pages.section(PAGE, "What a client can do")
    for kind in (ClientWebSocket, AsyncClientWebSocket):
        for name, value in vars(kind).items():
            if name.startswith("_") or name == "leave":
                continue
            if callable(value) or isinstance(value, property):
                assert re.search(rf"`{name}\b", table), name


def test_every_name_is_documented() -> None:
    text = PAGE.read_text()
    for name in testing.__all__:
        if not name.endswith("ClientWebSocket"):
            assert f"{name}" in text
