"""Modules import one another in one direction; late and typing-only imports count."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

import dwebsocket

ROOT = Path(dwebsocket.__file__).parent


class Import(NamedTuple):
    """One module's import of another.

    Args:
        importer: The module.
        imported: The other one.
        place: The file and the line.
    """

    importer: str
    imported: str
    place: str


def modules(root: Path) -> dict[str, Path]:
    """Return the files of a package by their dotted names."""
    found = {}
    for path in root.rglob("*.py"):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(root: Path) -> Iterator[Import]:
    """Yield each import in a package, wherever in the file it stands."""
    known = modules(root)
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text())):
            for target in targets(node, package):
                module = target
                # A name that is no module is in the module before it.
                while module and module not in known:
                    module = module.rpartition(".")[0]
                if module and not is_engine(target):
                    place = f"{path.relative_to(root.parent)}:{node.lineno}"
                    yield Import(name, module, place)


def targets(node: ast.AST, package: str) -> list[str]:
    """Return the dotted names that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = package.split(".")
        parts = parts[: len(parts) - node.level + 1]
        base = ".".join([*parts, *filter(None, [node.module])])
    return [f"{base}.{alias.name}" for alias in node.names]


def is_engine(target: str) -> bool:
    """Return whether this is the engine, which imports nothing."""
    return target.split(".")[1:2] == ["_engine"]


def circle(found: list[Import]) -> list[Import]:
    """Return imports that lead from a module back to it; nothing if there are none."""
    edges = {(one.importer, one.imported): one for one in found}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for importer, imported in edges:
        if importer != imported:
            sorter.add(importer, imported)
    try:
        sorter.prepare()
    except CycleError as error:
        # Each is imported by the next one, and the last is the first.
        return [edges[pair[::-1]] for pair in pairwise(error.args[1])]
    return []


def told(steps: list[Import]) -> str:
    """Return a circle as lines with file and line."""
    return "\n".join(f"{s.place}: {s.importer} imports {s.imported}" for s in steps)


def test_no_circle_is_left():
    found = list(imports(ROOT))
    # The test would pass if it found nothing.
    assert len(found) > 200
    assert not (met := circle(found)), told(met)


def test_nobody_imports_the_package_itself():
    # It imports everything: such an import would be a circle, too.
    wrong = [one for one in imports(ROOT) if one.imported == "dwebsocket"]
    assert not wrong, told(wrong)


@pytest.mark.parametrize(
    "late",
    [
        "from .b import other",
        "from . import b",
        "import package.b",
        "def late():\n    from package.b import other",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import other",
    ],
)
def test_a_circle_is_told_with_file_and_line(tmp_path, late):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text(late)
    (package / "b.py").write_text("\nfrom .c import x\n")
    (package / "c.py").write_text("from package import a\n")
    met = circle(list(imports(package)))
    assert {one.importer for one in met} == {"package.a", "package.b", "package.c"}
    assert "package/b.py:2: package.b imports package.c" in told(met)
    assert (
        f"package/a.py:{late.count(chr(10)) + 1}: package.a imports package.b"
        in told(met)
    )
    (package / "c.py").write_text("")
    assert not circle(list(imports(package)))
