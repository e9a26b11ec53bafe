"""Writes conf/view_options.py: the types of settings of views.

A decorator takes these settings as arguments, and a class with handlers has them as
attributes.

    python tools/view_options.py            writes the file
    python tools/view_options.py --check    exits with 1 if the file is not up to date

The checks of the settings are the source: a value of a type is in an annotation if the
check of the setting accepts it. So type checkers and the running package agree.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dwebsocket.conf import KEYS, Key, values

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "python" / "dwebsocket" / "conf" / "view_options.py"

#: The words that settings know, by the name of their type.
WORDS = {
    "Compression": values.COMPRESSION,
    "Dialect": values.DIALECTS,
    "Overflow": values.OVERFLOW,
}
ORIGIN = "https://example.com"
INTEGERS = (1, 5, 256, 65_536)

HEAD = '''\
"""The types of settings of views; written by tools/view_options.py."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

__all__ = (NAMES)
'''

OPTIONS = '''\
class ViewOptions(TypedDict, total=False):
    """The settings of ``DWEBSOCKET`` that a decorator takes as arguments.

    All but ``dialect``, which decides on the type of the view's request. The meaning of
    each is in docs/settings.md.
    """
'''

ATTRIBUTES = '''\
class ViewAttributes:
    """The settings of ``DWEBSOCKET`` that a class with handlers has as attributes.

    They are those of :class:`ViewOptions`, and ``dialect``. None has a value here.
    """
'''

#: The classes of the file, each with its beginning.
CLASSES = {"ViewAttributes": ATTRIBUTES, "ViewOptions": OPTIONS}


def annotation(name: str, key: Key) -> str:
    """Return the type of the values that a setting's check accepts.

    Raises:
        SystemExit: The check accepts values for which there is no sample here.
    """
    found = [
        alias for alias, words in WORDS.items() if all(key.valid(one) for one in words)
    ]
    found += [kind for kind, fits in KINDS.items() if fits(key.valid)]
    if not found or (key.valid("something else") and "str" not in found):
        raise SystemExit(f"{name}: add a sample of its values to {Path(__file__).name}")
    return " | ".join(found)


KINDS: Mapping[str, Callable[[Callable[[Any], bool]], bool]] = {
    "bool": lambda valid: valid(True) and valid(False),
    "float": lambda valid: valid(1.5),
    "int": lambda valid: not valid(1.5) and any(map(valid, INTEGERS)),
    "list[str]": lambda valid: valid([ORIGIN]),
    "tuple[str, ...]": lambda valid: valid((ORIGIN,)),
    "None": lambda valid: valid(None),
}


def render(keys: Mapping[str, Key]) -> str:
    """Return the file's text."""
    names = "\n".join(f'    "{name}",' for name in (*WORDS, *CLASSES))
    parts = [HEAD.replace("NAMES", f"\n{names}\n")]
    for alias, words in WORDS.items():
        items = ", ".join(f'"{word}"' for word in words)
        line = f"{alias}: TypeAlias = Literal[{items}]\n"
        if len(line) > 89:
            line = f"{alias}: TypeAlias = Literal[\n    {items}\n]\n"
        parts.append(line)
    types = {
        name.lower(): annotation(name, key) for name, key in keys.items() if key.scoped
    }
    for cls, head in CLASSES.items():
        fields = [
            f"    {name}: {kind}\n"
            for name, kind in types.items()
            if name != "dialect" or cls == "ViewAttributes"
        ]
        parts.append(f"\n{head}\n{''.join(fields)}")
    return "\n".join(parts)


def main() -> int:
    """Write or check the file; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = render(KEYS)
    if not parser.parse_args().check:
        TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    print(f"{TARGET.name} is not up to date: run python tools/view_options.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
