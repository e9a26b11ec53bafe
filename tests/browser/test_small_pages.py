"""The pages of the tutorial and of the site in one file, in Chromium."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import MINIMAL, TUTORIAL
from tests.examples.running import Example

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
expect = playwright.expect
expect.set_options(timeout=20_000)  # milliseconds; machines are busy at times


@pytest.mark.parametrize(
    ("example", "path", "connected"),
    [
        (TUTORIAL, "/echo/", "Connected."),
        (TUTORIAL, "/chat/", "Connected."),
        (MINIMAL, "/", "connected"),
    ],
)
def test_what_is_written_comes_back_as_text(
    chromium: Any,
    tmp_path: Path,
    example: partial[Example],
    path: str,
    connected: str,
) -> None:
    running = example(log=tmp_path / "log").start()
    page = chromium.new_page()
    try:
        page.goto(running.url + path)
        entries = page.locator("#log li")
        expect(entries).to_have_text([connected])
        page.locator("#text").fill("<b>你好</b> 👋🏽")
        page.keyboard.press("Enter")
        expect(entries).to_have_text([connected, "<b>你好</b> 👋🏽"])
        expect(page.locator("#text")).to_have_value("")
        running.stop()
        expect(entries.last).to_contain_text("isconnected")
    finally:
        page.close()
        running.kill()
    assert "Traceback" not in running.output(), running.output()
