"""docs/push.md has a whole program: its page shows what is pushed."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from . import pages
from .serving import free_port, get, running

PUSH = pages.ROOT / "docs" / "push.md"
[PROGRAM] = [
    block.code
    for block in pages.blocks(PUSH, "python")
    if "execute_from_command_line" in block.code
]
[START] = [b.code for b in pages.blocks(PUSH, "sh") if "news.py" in b.code]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


def test_the_page_shows_what_is_pushed(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"chromium is not installed ({CHROMIUM})")
    (tmp_path / "news.py").write_text(PROGRAM)
    port = free_port()
    with (
        running([*START.split(), str(port)], tmp_path, signal.SIGINT),
        playwright.sync_playwright() as driver,
    ):
        assert get(port, "/")[0].status == 200
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/")
        text = "grüß dich"
        # Until the page is connected, nobody is reached.
        for _ in range(100):
            get(port, "/tell/?text=gr%C3%BC%C3%9F%20dich")
            if page.locator("li").count():
                break
            page.wait_for_timeout(100)
        assert page.locator("li").first.text_content() == text
        assert errors == []
        browser.close()
