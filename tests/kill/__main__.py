"""The command line of the kill test."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.kill.brokers import BROKERS
from tests.kill.run import Plan, run


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("tests.kill", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="of killing")
    parser.add_argument("--broker", choices=list(BROKERS), default="redis")
    parser.add_argument("--clients", type=int, default=3_000)
    parser.add_argument("--processes", type=int, default=3, help="gunicorn servers")
    parser.add_argument("--rate", type=float, default=40.0, help="messages a second")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--directory", type=Path, help="for logs and data; is kept")
    return parser.parse_args()


def main() -> int:
    """Run the test; return the exit status."""
    given = arguments()
    plan = Plan(
        broker=given.broker,
        clients=given.clients,
        processes=given.processes,
        seconds=given.minutes * 60,
        rate=given.rate,
        seed=given.seed,
    )
    with tempfile.TemporaryDirectory(prefix="kill-") as temporary:
        directory = given.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        faults = run(plan, directory)
    for fault in faults:
        print(fault)
    print("FAILED" if faults else "passed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
