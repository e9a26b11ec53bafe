"""tools/view_options.py: the types follow the checks of the settings."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dwebsocket.conf import KEYS, Key

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "view_options.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("view_options_tool", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_file_is_up_to_date(tool):
    assert tool.render(KEYS) == tool.TARGET.read_text()
    subprocess.run([sys.executable, SCRIPT, "--check"], check=True, timeout=50)


def test_a_new_setting_makes_the_file_stale(tool, monkeypatch, capsys):
    more = {**KEYS, "BURST": Key(1, lambda value: value == 1, "1")}
    monkeypatch.setattr(tool, "KEYS", more)
    monkeypatch.setattr(sys, "argv", ["view_options.py", "--check"])
    assert tool.main() == 1
    assert "not up to date" in capsys.readouterr().out
    assert tool.render(more).count("    burst: int\n") == 2


def test_writing_brings_the_file_up_to_date(tool, monkeypatch, tmp_path):
    monkeypatch.setattr(tool, "TARGET", tmp_path / "view_options.py")
    monkeypatch.setattr(sys, "argv", ["view_options.py"])
    assert tool.main() == 0
    monkeypatch.setattr(sys, "argv", ["view_options.py", "--check"])
    assert tool.main() == 0


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ((1,), "int"),
        ((1, 1.5), "float"),
        ((1, 1.5, None), "float | None"),
        ((True, False), "bool"),
        (("auto", "close", "drop_oldest", "drop_newest", "block"), "Overflow"),
        (("classic", "modern", None), "Dialect | None"),
    ],
)
def test_a_type_is_that_of_the_accepted_values(tool, accepted, expected):
    def valid(value):
        return any(type(value) is type(one) and value == one for one in accepted)

    assert tool.annotation("X", Key(accepted[0], valid, "")) == expected


@pytest.mark.parametrize("accepted", ["new words", "something else"])
def test_values_without_a_sample_are_an_error(tool, accepted):
    key = Key(accepted, lambda value: value == accepted, "")
    with pytest.raises(SystemExit, match="add a sample"):
        tool.annotation("X", key)


def test_all_settings_of_views_have_a_type():
    from dwebsocket import ViewOptions
    from dwebsocket.conf.view_options import ViewAttributes

    arguments, attributes = ViewOptions.__annotations__, ViewAttributes.__annotations__
    assert set(attributes) == {name.lower() for name, key in KEYS.items() if key.scoped}
    assert set(arguments) == set(attributes) - {"dialect"}
