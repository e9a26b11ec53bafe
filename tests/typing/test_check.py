"""check.py: what it expects, and what it complains about."""

from __future__ import annotations

import pytest

from . import check
from .check import Error

SOURCE = """\
# error: mypy=arg-type pyright=reportArgumentType
call(
    1,
)
# error: mypy=call-arg,arg-type
view = one(
    2
)
class View:
    @websocket
    # error: mypy=override
    def get(self):
        wrong()
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "user.py"
    path.write_text(SOURCE)
    return path


def told(path, checker, *errors):
    found = [Error("user.py", line, rule, "wrong") for line, rule in errors]
    return list(check.differences(check.expected(path, checker), found))


ALL = ((3, "arg-type"), (6, "call-arg"), (7, "arg-type"), (12, "override"))


def test_the_expected_errors_are_right(path):
    assert told(path, "mypy", *ALL) == []
    assert told(path, "pyright", (2, "reportArgumentType")) == []


def test_a_missing_error_is_told(path):
    assert told(path, "mypy", *ALL[1:]) == ["user.py:2: no error [arg-type]"]
    assert told(path, "pyright") == ["user.py:2: no error [reportArgumentType]"]


@pytest.mark.parametrize(
    ("line", "rule"),
    [(13, "arg-type"), (3, "call-arg"), (9, "override"), (13, "override")],
)
def test_another_error_is_told(path, line, rule):
    found = told(path, "mypy", *ALL, (line, rule))
    assert found == [f"user.py:{line}: wrong [{rule}]"]


def test_unknown_types_follow_only_from_an_expected_error(path):
    unknown = "reportUnknownVariableType"
    assert told(path, "pyright", (2, "reportArgumentType"), (3, unknown)) == []
    found = told(path, "pyright", (2, "reportArgumentType"), (6, unknown))
    assert found == [f"user.py:6: wrong [{unknown}]"]
