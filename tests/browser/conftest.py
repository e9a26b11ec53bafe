"""Fixtures: the chat as its users run it, and pages of Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import CHAT
from tests.examples.running import Example

from .page import fake, opened, page

__all__ = ("fake", "opened", "page")

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a browser.

    Not for the whole session: its driver has an event loop running in this thread,
    which neither Django's database layer nor other tests' loops would put up with.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed"
    )
    if not Path(CHROMIUM).exists():
        pytest.skip(f"chromium is not installed ({CHROMIUM})")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Example]:
    """Return a running chat; its log must show no error."""
    example = CHAT(log=tmp_path / "log").start()
    yield example
    example.kill()
    assert "Traceback" not in example.output(), example.output()


@pytest.fixture
def visit(chromium: Any, chat: Example) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a room in a browser profile of its own."""
    contexts: list[Any] = []
    errors: list[str] = []

    def open_page(room: str = "lobby", **options: Any) -> Any:
        options = {"locale": "en-GB", "reduced_motion": "reduce", **options}
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{chat.url}/rooms/{room}/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
