"""How many files of the package a reader has to know for one thing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools/walk.py"

#: The limits; lower them when there are fewer.
MOST = {"handshake": 19, "message": 1, "send": 6}


def test_few_files_are_entered():
    result = subprocess.run(
        [sys.executable, TOOL], capture_output=True, text=True, timeout=55
    )
    assert result.returncode == 0, result.stderr
    counts = re.findall(r"^(\w+): (\d+)$", result.stdout, re.MULTILINE)
    assert [name for name, _ in counts] == list(MOST)
    for name, count in counts:
        assert 0 < int(count) <= MOST[name], result.stdout
