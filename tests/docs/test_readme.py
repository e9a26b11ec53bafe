"""The README's first example, taken out of it, served and talked to."""

from __future__ import annotations

import signal
from pathlib import Path

from . import pages
from .pages import ROOT
from .serving import assert_echoes, free_port, get, running

README = ROOT / "README.md"
EXAMPLE = pages.blocks(README, "python")[0].code
INSTALL, START, TALK = (block.code for block in pages.blocks(README, "sh")[:3])


def test_the_example_is_ten_lines() -> None:
    assert len([line for line in EXAMPLE.splitlines() if line]) == 10


def test_a_browser_that_opens_the_example_is_told(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(EXAMPLE)
    port = free_port()
    with running([*START.split(), str(port)], tmp_path, signal.SIGINT):
        response, body = get(port, "/echo/")
    assert response.status == 426
    assert b"WebSockets only" in body


def test_the_example_echoes(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(EXAMPLE)
    port = free_port()
    *_, url = TALK.split()
    assert url.startswith("ws://127.0.0.1:8000/")
    with running([*START.split(), str(port)], tmp_path, signal.SIGINT):
        assert_echoes(url.replace(":8000", f":{port}"))
