"""The command line of the soak."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.kill.processes import SERVERS
from tests.soak.run import Plan, run


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser("tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=40.0, help="messages a second")
    parser.add_argument("--server", action="append", choices=list(SERVERS))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--directory", type=Path, help="for logs and data; is kept")
    given = parser.parse_args()
    plan = Plan(
        seconds=given.minutes * 60,
        clients=given.clients,
        rate=given.rate,
        servers=tuple(given.server or SERVERS),
        seed=given.seed,
    )
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        directory = given.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        found = run(plan, directory)
    print(*found, sep="\n")
    print("FAILED" if found else "passed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
