"""docs/monitor.md names the permission, the checks and the code of the page."""

from __future__ import annotations

import re

from dwebsocket.contrib.monitor import board, checks, closing, permissions, session

from . import pages

PAGE = pages.ROOT / "docs" / "monitor.md"
TEXT = PAGE.read_text()


def test_every_check_is_documented() -> None:
    table = pages.rows(pages.section(PAGE, "When something goes wrong"))
    documented = {cells[0].strip("`") for cells in table}
    assert checks.__doc__ is not None
    assert documented - {"check"} == set(
        re.findall(r"dwebsocket\.[EW]\d{3}", checks.__doc__)
    )


def test_the_permission_is_documented() -> None:
    assert f"`{permissions.CLOSE}`" in TEXT


def test_the_numbers_are_so() -> None:
    assert f"code is {closing.LOGGED_OUT}" in TEXT
    assert f"code is {closing.AGAIN}" in TEXT
    assert f"{board.ROWS} at a time" in TEXT
    assert board.INTERVAL == 2.0
    assert "every two seconds" in TEXT
    assert board.INTERVAL * board.SHARE == 0.5
    assert "half a second" in TEXT
    assert session.CHECK == 5.0
    assert "every five seconds" in TEXT
