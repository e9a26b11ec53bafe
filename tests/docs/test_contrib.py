"""docs/contrib.md has the settings and the checks of both apps."""

from __future__ import annotations

import ast
import re
from types import ModuleType
from typing import Any

import pytest

from dwebsocket.contrib.chat import checks as chat_checks
from dwebsocket.contrib.chat.conf import chat_settings
from dwebsocket.contrib.push import checks as push_checks
from dwebsocket.contrib.push.conf import push_settings

from . import pages

CONTRIB = pages.ROOT / "docs" / "contrib.md"


@pytest.mark.parametrize(
    ("section", "title"),
    [
        (chat_settings, "Settings of the chat"),
        (push_settings, "Settings of notifications"),
    ],
    ids=["chat", "push"],
)
def test_every_setting_is_documented_with_its_default(section: Any, title: str) -> None:
    documented = {
        cells[0].strip("`"): ast.literal_eval(cells[1].strip("`"))
        for cells in pages.rows(pages.section(CONTRIB, title))
    }
    defaults = {name: repr(key.default) for name, key in section.keys.items()}
    assert {name: repr(value) for name, value in documented.items()} == defaults


@pytest.mark.parametrize("module", [chat_checks, push_checks])
def test_every_check_is_documented(module: ModuleType) -> None:
    table = pages.rows(pages.section(CONTRIB, "Checks"))
    documented = {cells[0].strip("`") for cells in table}
    assert module.__doc__ is not None
    assert set(re.findall(r"dwebsocket\.[EW]\d{3}", module.__doc__)) <= documented
