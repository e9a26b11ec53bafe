"""Starts the program that draws the plots, in an environment of its own."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import common
from peers.base import PYTHON

from runner.results import Results

PACKAGES = ("matplotlib==3.10.9", "numpy==2.3.5", "pillow==12.0.0")


def draw(results: Results, place: Path) -> None:
    """Draw all plots of the results, as PNG and SVG."""
    interpreter = common.environment("plots", PYTHON, PACKAGES)
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "results.json"
        results.save(path)
        subprocess.run(
            [str(interpreter), "-m", "runner.drawing", str(path), str(place.resolve())],
            cwd=common.HERE,
            check=True,
        )
