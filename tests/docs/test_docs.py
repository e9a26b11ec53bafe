"""The documentation says what is so: its code runs, its links and tables hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.template import engines

from dwebsocket import checks, conf, exceptions
from dwebsocket.websocket import WebSocket
from dwebsocket.websocket.aio import AsyncWebSocket

from . import pages
from .pages import PAGES, RECORDS, ROOT, Block

README = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
SETTINGS = ROOT / "docs" / "settings.md"
API = ROOT / "docs" / "api.md"
VIEWS = ROOT / "docs" / "views.md"
TESTING = ROOT / "docs" / "testing.md"
CHANNELS = ROOT / "docs" / "channels.md"

PYTHON = [block for page in PAGES for block in pages.blocks(page, "python")]
#: The Chinese README has the code of the English one. TESTING and CHANNELS are
#: projects, which test_testing.py and test_channels.py run.
OWN = [block for block in PYTHON if block.page not in (CHINESE, TESTING, CHANNELS)]
#: Programs that serve until they are stopped; test_readme.py and test_push.py do so.
SERVERS = [block for block in OWN if "execute_from_command_line" in block.code]
RUNNABLE = [block for block in OWN if block not in SERVERS]
TEMPLATES = [block for page in PAGES for block in pages.blocks(page, "html")]

#: Runs a block as a module of a project.
_RUN = """
import django, runpy, sys
django.setup()
namespace = runpy.run_path(sys.argv[1], run_name="documented")
from dwebsocket.conf import problems
assert problems(namespace.get("DWEBSOCKET", {})) == []
"""


def _name(item: Block | Path) -> str:
    return item.name


@pytest.mark.parametrize("block", PYTHON, ids=_name)
def test_python_compiles(block: Block) -> None:
    compile(block.code, block.name, "exec")


@pytest.mark.parametrize("block", RUNNABLE, ids=_name)
def test_python_runs(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "documented.py"
    file.write_text(block.code)
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(file)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", TEMPLATES, ids=_name)
def test_templates_compile(block: Block) -> None:
    engines["django"].from_string(block.code)


def test_what_needs_to_be_served_has_a_test_of_its_own() -> None:
    assert [block.page for block in SERVERS] == [README, ROOT / "docs" / "push.md"]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in pages.links(page):
        if target.startswith(("http://", "https://")):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (fragment and fragment not in pages.anchors(file)):
            broken.append(target)
    assert broken == []


def _code(cell: str) -> str:
    return cell.strip("`")


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {
        _code(cells[0]): ast.literal_eval(_code(cells[1]))
        for cells in pages.rows(pages.section(SETTINGS, "All keys"))
    }
    # Compared as text: 20 is not 20.0 in a table, and False is not 0.
    assert {name: repr(value) for name, value in documented.items()} == {
        name: repr(key.default) for name, key in conf.KEYS.items()
    }


def test_every_decorator_argument_is_documented() -> None:
    documented = {
        _code(cells[0]): _code(cells[3])
        for cells in pages.rows(pages.section(SETTINGS, "All keys"))
    }
    assert documented == {
        name: name.lower() if key.scoped else "" for name, key in conf.KEYS.items()
    }


def test_every_overflow_policy_is_documented() -> None:
    table = pages.rows(pages.section(SETTINGS, "OVERFLOW"))
    assert tuple(ast.literal_eval(_code(cells[0])) for cells in table) == conf.OVERFLOW


def test_old_settings_are_documented() -> None:
    table = pages.rows(pages.section(SETTINGS, "Old names"))
    assert {_code(old): _code(key) for old, key in table} == conf.OLD_NAMES


def test_every_system_check_is_documented() -> None:
    table = pages.rows(pages.section(API, "System checks"))
    assert checks.__doc__ is not None
    documented = {_code(cells[0]) for cells in table}
    assert documented == set(re.findall(r"dwebsocket\.[EW]\d{3}", checks.__doc__))


def test_the_exceptions_are_documented() -> None:
    assert exceptions.__doc__ is not None
    tree = exceptions.__doc__[exceptions.__doc__.index("WebSocketException\n") :]
    assert tree.strip() in API.read_text()


def test_every_method_is_documented() -> None:
    text = pages.prose(API)
    names = {name for name in dir(WebSocket) if not name.startswith("_")}
    missing = {name for name in names if not re.search(rf"`{name}\b", text)}
    assert missing == set()


def test_every_call_of_asynchronous_views_is_documented() -> None:
    own = {name for name in vars(AsyncWebSocket) if not name.startswith("_")}
    text = pages.prose(VIEWS)
    assert {name for name in own if not re.search(rf"\b{name}\(", text)} == set()


def test_every_python_logger_is_documented() -> None:
    sources = (ROOT / "python" / "dwebsocket").rglob("*.py")
    pattern = re.compile(r'getLogger\("([^"]+)"\)')
    used = {name for file in sources for name in pattern.findall(file.read_text())}
    table = pages.rows(pages.section(API, "Logging"))
    assert {_code(cells[0]) for cells in table} == used


class TestRecords:
    """docs/adr/ has a record for each decision, and an index of them."""

    @pytest.mark.parametrize("record", RECORDS, ids=_name)
    def test_has_a_date_and_three_sections(self, record: Path) -> None:
        status = record.read_text().splitlines()[2]
        assert re.match(
            r"(Proposed|Accepted|Replaced by \[.+\]\(.+\)), \d{4}-\d\d-\d\d", status
        )
        sections = [h.title for h in pages.headings(record) if h.level == 2]
        assert sections == ["Context", "Decision", "Consequences"]

    def test_the_numbers_have_no_gap(self) -> None:
        numbers = [int(record.name[:4]) for record in RECORDS]
        assert numbers == list(range(1, len(RECORDS) + 1))

    def test_the_index_has_every_title(self) -> None:
        index = pages.rows((ROOT / "docs" / "adr" / "README.md").read_text())
        titles = [(pages.headings(record)[0].title, record.name) for record in RECORDS]
        assert [cells[0] for cells in index] == [
            f"[{title}]({name})" for title, name in titles
        ]


class TestChinese:
    """README.zh-CN.md is README.md in another language, and nothing else."""

    def test_has_the_same_sections(self) -> None:
        theirs, ours = pages.headings(README), pages.headings(CHINESE)
        assert [h.level for h in ours] == [h.level for h in theirs]

    def test_has_the_same_code(self) -> None:
        theirs, ours = pages.blocks(README), pages.blocks(CHINESE)
        assert [(b.language, b.code) for b in ours] == [
            (b.language, b.code) for b in theirs
        ]

    def test_has_the_same_tables(self) -> None:
        theirs = pages.rows(pages.prose(README))
        ours = pages.rows(pages.prose(CHINESE))
        assert [len(cells) for cells in ours] == [len(cells) for cells in theirs]

    def test_links_to_the_same_pages(self) -> None:
        theirs = [link for link in pages.links(README) if link != CHINESE.name]
        ours = [link for link in pages.links(CHINESE) if link != README.name]
        assert sorted(ours) == sorted(theirs)
