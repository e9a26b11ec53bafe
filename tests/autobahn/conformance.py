"""Runs the Autobahn test suite against this package under gunicorn.

    python tests/autobahn/conformance.py all
    python tests/autobahn/conformance.py subset
    python tests/autobahn/conformance.py '1.*' 9.1.6

Installs the suite where it is missing, starts a server of its own, and compares the
outcome with expected.json: a case that is listed there as INFORMATIONAL must be that,
every other one must be OK, in its behavior and in the way it closes.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUITE = Path(os.environ.get("AUTOBAHN_DIR", ROOT / ".cache" / "autobahn"))

#: The behavior and the close of each case.
Outcomes: TypeAlias = dict[str, tuple[str, str]]

#: Case patterns that one run of the suite takes; the runs go side by side.
ALL = (
    ["9.*"],
    ["12.1.*", "12.2.*", "12.3.*", "12.4.*", "12.5.*", "13.1.*"],
    ["13.2.*", "13.3.*", "13.4.*", "13.5.*", "13.6.*", "13.7.*"],
    ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"],
)


def subset() -> tuple[list[str], ...]:
    """Return the cases for every commit: everything but the long ones."""
    # Large messages, in frames and in chops of every kind; many small messages.
    large = [f"9.{kind}.{size}" for kind in (1, 2) for size in (1, 2, 3)]
    large += ["9.3.5", "9.3.9", "9.4.5", "9.4.9", "9.5.3", "9.5.6", "9.6.3", "9.6.6"]
    large += ["9.7.1", "9.7.3", "9.8.1", "9.8.3"]
    # Every set of parameters with short, middling and fragmented messages.
    kinds = [f"12.{n}" for n in range(1, 6)] + [f"13.{n}" for n in range(1, 8)]
    short = [f"{kind}.{case}" for kind in kinds for case in (1, 3, 5, 11)]
    return ALL[-1], large + short


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers.

    Raises:
        RuntimeError: It ended, or said nothing for too long.
    """
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"gunicorn ended with status {server.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("gunicorn did not answer within 30 seconds")


@contextmanager
def serve(log: Path, compression: str) -> Iterator[str]:
    """Run gunicorn with threads for as long as the context lasts; yield its URL."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "tests.autobahn.site"]
    command += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    command += ["--threads", "4", "--log-level", "warning"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "AUTOBAHN_COMPRESSION": compression},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_ready(server, port)
            yield f"ws://127.0.0.1:{port}/"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def run(url: str, out: Path, cases: list[str], timeout: float) -> Outcomes:
    """Run some cases; return the behavior and the close of those that did run.

    Raises:
        RuntimeError: The suite did not start, or wrote no report.
    """
    out.mkdir(parents=True)
    spec = out / "spec.json"
    chosen = {
        "outdir": str(out),
        "servers": [{"url": url, "agent": "dwebsocket"}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    spec.write_text(json.dumps(chosen, indent=1))
    # Names every case, and fails on an unknown one (wstest would wait for ever).
    listed = subprocess.run(
        [SUITE / "bin" / "python2.7", "-sE", SUITE / "lib" / "cases.py", spec],
        stdout=subprocess.PIPE,
        check=True,
    )
    with (out / "wstest.log").open("wb") as log:
        subprocess.run(
            [SUITE / "bin" / "wstest", "-m", "fuzzingclient", "-s", spec],
            cwd=out,
            stdout=log,
            stderr=log,
            timeout=timeout,
            check=False,
        )
    if not (out / "index.json").exists():
        raise RuntimeError(f"wstest wrote no report: see {out / 'wstest.log'}")
    index = json.loads((out / "index.json").read_text())
    found: Outcomes = dict.fromkeys(json.loads(listed.stdout), ("NOT RUN", "NOT RUN"))
    for results in index.values():
        for case, result in results.items():
            found[case] = result["behavior"], result["behaviorClose"]
    return found


def differences(outcomes: Outcomes, informational: list[str]) -> list[str]:
    """Return what is not as expected, a line for each case."""
    found = []
    for case, (behavior, close) in sorted(outcomes.items()):
        allowed = "INFORMATIONAL" if case in informational else "OK"
        if behavior != allowed or close not in ("OK", allowed):
            found.append(f"{case} is {behavior}, and its close {close}, not {allowed}")
    return found


def report(outcomes: Outcomes, wrong: list[str], seconds: float) -> None:
    """Print the outcome."""
    print(f"Autobahn: {len(outcomes)} cases in {seconds:.0f} s")
    for name, number in (("behavior", 0), ("behaviorClose", 1)):
        count = collections.Counter(outcome[number] for outcome in outcomes.values())
        print(f"  {name}: " + ", ".join(f"{count[key]} {key}" for key in sorted(count)))
    print("\n".join(wrong) if wrong else "  as expected")


def conformance(groups: tuple[list[str], ...], whole: bool, arguments: Any) -> int:
    """Run the groups of cases side by side; return the exit status."""
    subprocess.run([HERE / "setup.sh", SUITE], check=True)
    reports = SUITE / "reports" / time.strftime("%Y%m%d-%H%M%S")
    reports.mkdir(parents=True)
    started = time.monotonic()
    log = reports / "gunicorn.log"
    outcomes: Outcomes = {}
    with (
        serve(log, arguments.compression) as url,
        ThreadPoolExecutor(arguments.jobs) as pool,
    ):
        runs = [
            pool.submit(run, url, reports / str(number), cases, arguments.timeout)
            for number, cases in enumerate(groups)
        ]
        for running in runs:
            outcomes |= running.result()
    expected = json.loads((HERE / "expected.json").read_text())
    wrong = differences(outcomes, expected["INFORMATIONAL"])
    if whole and len(outcomes) != expected["cases"]:
        wrong.append(f"{len(outcomes)} cases ran, not {expected['cases']}")
    if log.stat().st_size:
        wrong.append(f"gunicorn's log is not empty:\n{log.read_text()}")
    report(outcomes, wrong, time.monotonic() - started)
    print(f"  reports: {reports}")
    return 1 if wrong else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cases", nargs="+", help="all, subset, or ids and patterns")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--timeout", type=float, default=3600, help="of the suite, in s"
    )
    parser.add_argument(
        "--compression", choices=("shared", "dedicated"), default="dedicated"
    )
    arguments = parser.parse_args()
    if arguments.cases == ["all"]:
        groups: tuple[list[str], ...] = ALL
    elif arguments.cases == ["subset"]:
        groups = subset()
    else:
        groups = (arguments.cases,)
    try:
        return conformance(groups, arguments.cases == ["all"], arguments)
    except (RuntimeError, subprocess.SubprocessError) as error:
        print(f"The suite did not run: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
