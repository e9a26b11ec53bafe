"""Several worker processes of one gunicorn."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.servers.harness import PYTHON, ROOT, Server
from tests.servers.pool import Pool
from tests.servers.redis import Redis
from tests.servers.test_broker import Page

KEPT = {"kept.*": {"history": 100, "ttl": 60}}
WARNING = "several worker processes and no broker"


@pytest.fixture
def redis():
    """Return a server that may be killed."""
    running = Redis()
    yield running
    running.close()


def _settings(redis: Redis | None) -> dict[str, Any]:
    apps = ["contenttypes", "auth", "sessions"]
    return {
        "INSTALLED_APPS": [*(f"django.contrib.{app}" for app in apps), "dwebsocket"],
        "DWEBSOCKET": {"BROKER": redis and redis.url, "GROUPS": KEPT},
    }


def _python(server: Server, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PYTHON, *words],
        env=server.env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _one_of_each_worker(server: Server) -> dict[int, Page]:
    """Return a page of a group in each of the two workers."""
    pages: dict[int, Page] = {}
    for _ in range(200):
        page = Page(server)
        page.join("plain.who")
        page.ask("members", group="plain.who")
        members = page.hear("members")["members"]
        (pid,) = [m["info"]["pid"] for m in members if m["id"] == page.id]
        pages.setdefault(pid, page)
        if len(pages) == 2:
            return pages
    raise AssertionError("one worker gets all")


def test_a_push_from_a_management_command_reaches_both(pool: Pool, redis: Redis):
    server = pool.fresh(
        "gunicorn-gthread", settings=_settings(redis), args=["--workers", "2"]
    )
    pages = _one_of_each_worker(server)
    for page in pages.values():
        page.join("kept.x")
    for group in ("plain.who", "kept.x"):
        command = _python(server, "-m", "django", "wspublish", "--group", group, group)
        output, errors = command.communicate(timeout=60)
        assert command.returncode == 0, errors
        assert "handed to the broker" in output
        assert [page.messages(1) for page in pages.values()] == [[group]] * 2
    assert WARNING not in server.text(0)


def test_what_waits_for_the_broker_goes_out_at_the_end(pool: Pool, redis: Redis):
    server = pool.fresh("gunicorn-gthread", settings=_settings(redis))
    page = Page(server)
    page.join("kept.end")
    redis.kill()
    script = (
        "import django; django.setup()\n"
        "from dwebsocket import push\n"
        "print(push.to_group('kept.end', 'late').broker, flush=True)\n"
    )
    task = _python(server, "-c", script)
    assert task.stdout is not None
    assert task.stdout.readline() == "pending\n"
    redis.start()
    _, errors = task.communicate(timeout=60)
    assert task.returncode == 0, errors
    assert page.messages(1) == ["late"]


@pytest.mark.parametrize("how", ["argument", "file", "environment"])
def test_without_a_broker_the_log_says_so_once_groups_are_used(
    pool: Pool, tmp_path: Path, how: str
):
    options: dict[str, Any] = {"args": ["--workers", "2"]}
    if how == "file":
        (tmp_path / "conf.py").write_text("workers = 2\n")
        options = {"args": ["--config", str(tmp_path / "conf.py")]}
    elif how == "environment":
        options = {"env": {"WEB_CONCURRENCY": "2"}}
    spec = "gunicorn-gthread" if how == "argument" else _without_workers()
    server = pool.fresh(spec, settings=_settings(None), **options)
    with_none = server.open("/modern/echo")
    with_none.send("x")
    assert with_none.receive() == "x"
    assert WARNING not in server.text(0)
    pages = [Page(server) for _ in range(3)]
    for page in pages:
        page.join("plain.x")
    text = server.logged(WARNING)
    assert "DWEBSOCKET['BROKER']" in text
    assert 1 <= text.count(WARNING) <= 2


def _without_workers() -> Any:
    """Return gunicorn's spec without --workers, which goes before all else."""
    from tests.servers.specs import SPECS, Spec

    spec = SPECS["gunicorn-gthread"]

    def argv(python: str, address: Any) -> list[str]:
        words = spec.argv(python, address)
        place = words.index("--workers")
        return words[:place] + words[place + 2 :]

    return Spec(argv, spec.stop, spec.harmless)


def test_one_worker_is_not_warned_of(pool: Pool):
    server = pool.fresh("gunicorn-gthread", settings=_settings(None))
    Page(server).join("plain.x")
    server.begin()
    assert WARNING not in server.text(0)
