"""Compares the errors of type checkers with those that the files of ``users`` expect.

The code of docs/types.md is checked with them: it has no errors.

    python -m tests.typing.check

The files are code of users of the package. A comment names the rules of each checker
that the code after it breaks:

    # error: mypy=attr-defined pyright=reportAttributeAccessIssue
    request.websocket.receive_text()

Any other error fails, and so does a missing one. The checkers are those of the
environment that runs this script: mypy with the plugin of django-stubs and without it,
and basedpyright, which is pyright in a wheel that has everything it needs.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.docs import pages

HERE = Path(__file__).resolve().parent
USERS = HERE / "users"
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache"
PAGE = ROOT / "docs" / "types.md"
#: A folder for the page's code; pyrightconfig.json names it, too.
DOCUMENTED = CACHE / "typing"

COMMENT = re.compile(r"\s*# error:(?P<rules>( \w+=[\w,-]+)+)$")
#: What pyright also says of code that has an error: it does not know the type then.
CONSEQUENCES = ("reportUnknown", "reportUntyped")


class Error(NamedTuple):
    """An error that a checker has found."""

    file: str
    line: int
    rule: str
    message: str


class Expectation(NamedTuple):
    """The rules of one checker that some lines break."""

    file: str
    lines: range
    rules: frozenset[str]

    def covers(self, error: Error) -> bool:
        """Return whether an error is expected."""
        return (
            error.file == self.file
            and error.line in self.lines
            and (error.rule in self.rules or error.rule.startswith(CONSEQUENCES))
        )


def documented() -> list[Path]:
    """Write each block of the page's code to a file; return the files."""
    shutil.rmtree(DOCUMENTED, ignore_errors=True)
    DOCUMENTED.mkdir(parents=True)
    files = []
    for block in pages.blocks(PAGE, "python"):
        files.append(DOCUMENTED / f"types_md_{block.line}.py")
        files[-1].write_text(block.code)
    return files


def spans(source: str) -> dict[int, range]:
    """Return the lines of the code that begins in each line; of blocks, the head."""
    found: dict[int, range] = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt | ast.expr):
            continue
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if isinstance(body, list) else node.end_lineno
        lines = range(node.lineno, max(last or 0, node.lineno) + 1)
        # A statement comes before its expressions, and is the longest.
        found.setdefault(node.lineno, lines)
    return found


def expected(path: Path, checker: str) -> Iterator[Expectation]:
    """Yield what a file expects of a checker."""
    source = path.read_text()
    code = spans(source)
    for number, line in enumerate(source.splitlines(), 1):
        if match := COMMENT.fullmatch(line):
            rules = dict(one.split("=") for one in match["rules"].split())
            if checker in rules:
                broken = frozenset(rules[checker].split(","))
                yield Expectation(path.name, code[number + 1], broken)


def differences(
    wanted: Iterable[Expectation], errors: Iterable[Error]
) -> Iterator[str]:
    """Yield a line about each error that is missing, or that is not expected."""
    wanted = list(wanted)
    met: dict[Expectation, set[str]] = defaultdict(set)
    for error in errors:
        covering = [one for one in wanted if one.covers(error)]
        for one in covering:
            met[one].add(error.rule)
        if not covering:
            yield f"{error.file}:{error.line}: {error.message} [{error.rule}]"
    for one in wanted:
        for rule in sorted(one.rules - met[one]):
            yield f"{one.file}:{one.lines.start}: no error [{rule}]"


def run(*command: str | Path) -> str:
    """Run a checker of this environment; return its output."""
    program = Path(sys.executable).with_name(str(command[0]))
    done = subprocess.run(
        [program, *command[1:]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{program.name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def mypy(config: str, files: list[Path]) -> Iterator[Error]:
    """Yield mypy's errors."""
    cache = CACHE / f"mypy-{Path(config).stem}"
    told = run(
        *("mypy", "--config-file", HERE / config, "--cache-dir", cache),
        *("--output", "json", *files),
    )
    for line in told.splitlines():
        one: dict[str, Any] = json.loads(line)
        if one["severity"] == "error":
            name = Path(one["file"]).name
            yield Error(name, one["line"], str(one["code"]), one["message"])


def pyright(files: list[Path]) -> Iterator[Error]:
    """Yield pyright's errors."""
    told = run(
        *("basedpyright", "--outputjson", "--pythonpath", sys.executable),
        *("--project", HERE / "pyrightconfig.json"),
    )
    for one in json.loads(told)["generalDiagnostics"]:
        path, line = Path(one["file"]), one["range"]["start"]["line"] + 1
        if path in files:
            yield Error(path.name, line, one.get("rule", "syntax"), one["message"])


def main() -> int:
    """Run the checkers; return the exit status."""
    files = [*sorted(USERS.glob("*.py")), *documented()]
    wrong = False
    for checker, errors in (
        ("mypy", mypy("plugin.ini", files)),
        ("mypy", mypy("plain.ini", files)),
        ("pyright", pyright(files)),
    ):
        wanted = [one for path in files for one in expected(path, checker)]
        for line in differences(wanted, errors):
            print(f"{checker}: {line}")
            wrong = True
    return wrong


if __name__ == "__main__":
    sys.exit(main())
