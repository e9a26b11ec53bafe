"""Log lines about something that goes on for long."""

from __future__ import annotations

import logging

from dwebsocket.process.trouble import Trouble

logger = logging.getLogger("tests.trouble")


def test_it_is_logged_once_and_its_end(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "tests.trouble")
    trouble = Trouble(logger, "It does not work")
    trouble.over()
    for _ in range(3):
        trouble.note(OSError("the database is away"))
    assert len(caplog.records) == 1
    assert "the database is away" in caplog.text
    assert caplog.records[0].exc_info
    monkeypatch.setattr(Trouble, "PAUSE", 0.0)
    trouble.note(OSError("it still is"))
    trouble.over()
    trouble.over()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "WARNING", "INFO"]
    trouble.note(OSError("again"))
    assert len(caplog.records) == 4
