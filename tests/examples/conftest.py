"""Fixtures: the examples on the servers that a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from .running import Example

TUTORIAL = partial(Example, "tutorial", "manage.py", "tutorial.wsgi")
MINIMAL = partial(Example, ".", "minimal.py", "minimal")
CHAT = partial(Example, "chat", "manage.py", "chatsite.wsgi")


@pytest.fixture(scope="module")
def launch(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Example]]:
    """Return a function that starts an example; its log must show no error."""
    running: list[Example] = []
    folder: Path = tmp_path_factory.mktemp("logs")

    def start(example: partial[Example], server: str = "runserver") -> Example:
        log = folder / f"{len(running)}"
        running.append(example(log=log, server=server))
        return running[-1].start()

    yield start
    for example in running:
        example.kill()
        output = example.output()
        assert "Traceback" not in output, output
        assert "Bad file descriptor" not in output, output
