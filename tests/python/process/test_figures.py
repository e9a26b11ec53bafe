"""The directory of the figures, and the file of this process in it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from dwebsocket import _engine
from dwebsocket.process import figures

_ATTACH = """
import json, os, sys, django
django.setup()
from dwebsocket import _engine
from dwebsocket.process import figures
figures.refused(403)
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Child:
    """A process that counts."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ATTACH],
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "tests.servers.site.settings",
                "SITE_SETTINGS": json.dumps(
                    {"DWEBSOCKET": {"MONITOR_DIRECTORY": str(directory)}}
                ),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self._line() == "done"

    def end(self) -> None:
        self.process.kill()
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def _read(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_engine.monitor_read(directory))
    return found


@pytest.fixture
def child(tmp_path):
    """Return a function that starts a process that counts."""
    children = []

    def start() -> Child:
        children.append(Child(tmp_path / "figures"))
        return children[-1]

    yield start
    for one in children:
        if one.process.poll() is None:
            one.end()


def test_a_process_is_found_while_it_lives_and_its_counts_stay(child, tmp_path) -> None:
    one, two = child(), child()
    found = _read(tmp_path / "figures")
    pids = sorted(process["pid"] for process in found["processes"])
    assert pids == sorted([one.process.pid, two.process.pid])
    assert found["counters"]["refused"] == {"403": 2}
    one.run("figures.refused(404)")
    one.end()
    found = _read(tmp_path / "figures")
    assert [process["pid"] for process in found["processes"]] == [two.process.pid]
    assert found["counters"]["refused"] == {"403": 2, "404": 1}


def test_a_forked_child_counts_for_itself_and_keeps_no_lock(child, tmp_path) -> None:
    one = child()
    one.run(
        "pid = os.fork(); "
        "pid or (figures.refused(410), sys.stdin.close(), __import__('time').sleep(60))"
    )
    place = tmp_path / "figures"
    while "410" not in (found := _read(place))["counters"]["refused"]:
        assert one.process.poll() is None
    forked = [p["pid"] for p in found["processes"] if p["pid"] != one.process.pid]
    assert len(forked) == 1
    # The parent is gone though its child lives.
    one.end()
    found = _read(place)
    assert [process["pid"] for process in found["processes"]] == forked
    assert found["counters"]["refused"] == {"403": 1, "410": 1}
    os.kill(forked[0], 9)


def test_the_directory_is_the_users_own(child, tmp_path) -> None:
    child()
    place = tmp_path / "figures"
    assert place.stat().st_mode & 0o777 == 0o700
    for path in place.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(
    ("setting", "expected"),
    [(False, None), ("/run/figures", Path("/run/figures"))],
)
def test_the_setting_names_the_directory(setting, expected) -> None:
    with override_settings(DWEBSOCKET={"MONITOR_DIRECTORY": setting}):
        assert figures.directory() == expected
        assert figures.directories() == ([expected] if expected else [])


def test_sites_have_directories_of_their_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = figures.directory()
    assert mine is not None
    assert mine.parent == tmp_path
    assert f"-{os.geteuid()}-" in mine.name
    assert figures.directory() == mine
    with override_settings(SECRET_KEY="another"):
        assert figures.directory() != mine
    with override_settings(DWEBSOCKET={"BROKER_PREFIX": "another"}):
        assert figures.directory() != mine


def test_a_command_finds_the_directory_of_another_user(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = figures.directory()
    assert mine is not None
    me = os.geteuid()
    # The user's number is in the name: it must be that of the owner.
    for uid in (me + 1, "x"):
        (tmp_path / mine.name.replace(f"-{me}-", f"-{uid}-")).mkdir()
    assert figures.directories() == [mine]
    if me == 0:
        other = tmp_path / mine.name.replace(f"-{me}-", f"-{me + 1}-")
        os.chown(other, me + 1, -1)
        assert figures.directories() == [mine, other]


def test_a_directory_that_cannot_be_made_is_logged_once(monkeypatch, caplog) -> None:
    monkeypatch.setattr(figures.attach, "_process", None)
    with (
        override_settings(DWEBSOCKET={"MONITOR_DIRECTORY": "/dev/null/x"}),
        caplog.at_level(logging.WARNING, "dwebsocket.monitor"),
    ):
        monkeypatch.setattr(_engine, "monitor_attach", _refuse)
        figures.attach()
        figures.attach()
    (record,) = caplog.records
    assert "/dev/null/x" in record.getMessage()
    assert "MONITOR_DIRECTORY" in record.getMessage()


def _refuse(directory: Path) -> None:
    raise NotADirectoryError(20, "Not a directory")
