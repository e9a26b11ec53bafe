"""Reads the documentation: its code blocks, links, headings and tables."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: Records of decisions, by their numbers.
RECORDS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))

#: Also within a list, where it is indented.
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_ANCHOR = re.compile(r'<a id="([^"]+)">')


class Block(NamedTuple):
    """A fenced block of code."""

    page: Path
    line: int
    language: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


class Heading(NamedTuple):
    """A heading and the text up to the next one of its level or above."""

    level: int
    title: str


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """Return a page's blocks of code, or those in one language."""
    text = page.read_text()
    found = [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match.group(2),
            textwrap.dedent(match.group(3)),
        )
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


def prose(page: Path) -> str:
    """Return a page's text without its blocks of code."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Return what a page links to, pictures included."""
    return _LINK.findall(prose(page))


def headings(page: Path) -> list[Heading]:
    """Return a page's headings."""
    return [
        Heading(len(marks), title) for marks, title in _HEADING.findall(prose(page))
    ]


def anchors(page: Path) -> set[str]:
    """Return the fragments that a link to a page may have."""
    slugs = {
        re.sub(r"[^\w\- ]", "", heading.title.lower()).replace(" ", "-")
        for heading in headings(page)
    }
    return slugs | set(_ANCHOR.findall(prose(page)))


def section(page: Path, title: str) -> str:
    """Return the text under a heading, down to the next heading of any level."""
    parts = re.split(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a text's tables, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [
        number for number, cells in enumerate(table) if set("".join(cells)) <= {"-"}
    ]
    skipped = {*rules, *(number - 1 for number in rules)}
    return [cells for number, cells in enumerate(table) if number not in skipped]
