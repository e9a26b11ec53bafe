"""Writes THIRD-PARTY.md: the licences of all crates that are linked into the wheel.

    python tools/third_party.py            writes the file
    python tools/third_party.py --check    exits with 1 if the file is not up to date

The wheel contains these crates in compiled form, and their licences require that it
contains the licence texts, too. The texts are those of the crates' sources, in cargo's
registry folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "THIRD-PARTY.md"
#: The platform whose crates are listed; on Linux, other processors link the same.
PLATFORM = "x86_64-unknown-linux-gnu"
#: Licences in the order in which one is chosen, if a crate offers several.
PREFERRED = ("MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0")
#: The beginnings of the names of files that have a licence's text.
NAMES = ("license", "licence", "copying", "notice", "unlicense")

HEAD = """\
# Third-party licences

The compiled module in the wheel contains the crates below. Each is used under the
licence that is named; where a crate offers several, one was chosen. This file is
written by `python tools/third_party.py`.
"""


def metadata() -> dict[str, Any]:
    """Return cargo's metadata of the packages."""
    argv = [
        *("cargo", "metadata", "--format-version", "1", "--locked"),
        *("--filter-platform", PLATFORM),
    ]
    found: dict[str, Any] = json.loads(subprocess.check_output(argv, cwd=ROOT))
    return found


def linked(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the linked packages: no macros, no dependencies of builds or tests."""
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    packages = {package["id"]: package for package in found["packages"]}
    root = found["resolve"]["root"]
    seen, todo = {root}, [root]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if (
                normal
                and dependency["pkg"] not in seen
                and not _is_macro(packages[dependency["pkg"]])
            ):
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    chosen = [packages[one] for one in seen - {root}]
    return sorted(chosen, key=lambda package: (package["name"], package["version"]))


def _is_macro(package: dict[str, Any]) -> bool:
    return any("proc-macro" in target["kind"] for target in package["targets"])


def texts(package: dict[str, Any]) -> list[str]:
    """Return the licence texts in a package's source.

    If a package offers several licences, the files of the preferred one are taken.
    """
    folder = Path(package["manifest_path"]).parent
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.lower().startswith(NAMES)
    )
    if "OR" in (package["license"] or ""):
        for licence in PREFERRED:
            short = licence.split("-")[0].lower()
            fitting = [path for path in files if short in path.name.lower()]
            if licence in package["license"] and fitting:
                files = fitting
                break
    return [_clean(path.read_text(errors="replace")) for path in files]


def _clean(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _standard(package: dict[str, Any], packages: list[dict[str, Any]]) -> str:
    """Return the licence's text from another crate, if a crate lacks the text."""
    licence = package["license"]
    short = licence.split("-")[0].lower()
    for other in packages:
        for path in Path(other["manifest_path"]).parent.iterdir():
            if path.name.lower() == f"license-{short}":
                return _clean(path.read_text())
    raise SystemExit(f"{package['name']} has no text of its licence, {licence}")


def render(packages: list[dict[str, Any]]) -> str:
    """Return the file's text; crates with the same licence text share it."""
    parts = [HEAD, "| crate | version | licence |\n|---|---|---|"]
    parts[1] += "".join(
        f"\n| {one['name']} | {one['version']} | {one['license']} |" for one in packages
    )
    users: dict[str, list[str]] = defaultdict(list)
    for package in packages:
        for text in texts(package) or [_standard(package, packages)]:
            users[text].append(package["name"])
    for text, names in users.items():
        several = ", ".join(dict.fromkeys(names))
        parts.append(f"## {several}\n\n```text\n{text}\n```")
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def main() -> int:
    """Write or check the file; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = render(linked(metadata()))
    if not parser.parse_args().check:
        TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    print("THIRD-PARTY.md is not up to date: run python tools/third_party.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
