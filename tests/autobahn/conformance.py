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

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUITE = Path(os.environ.get("AUTOBAHN_DIR", ROOT / ".cache" / "autobahn"))

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
def serve(log: Path) -> Iterator[str]:
    """Run gunicorn with threads for as long as the context lasts; yield its URL."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "tests.autobahn.site"]
    command += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    command += ["--threads", "4", "--log-level", "warning"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
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


def run(url: str, out: Path, cases: list[str]) -> tuple[str, int]:
    """Run some cases; return what the runner printed, and its exit status."""
    ran = subprocess.run(
        [str(HERE / "run.sh"), url, *cases],
        env={**os.environ, "AUTOBAHN_DIR": str(SUITE), "AUTOBAHN_OUT": str(out)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.stdout, ran.returncode


def outcomes(out: Path) -> tuple[set[str], dict[str, tuple[str, str]]]:
    """Return the cases that were to run, and behavior and close of those that did."""
    wanted = json.loads((out / "cases.json").read_text())
    index = json.loads((out / "index.json").read_text())
    return set(wanted), {
        case: (result["behavior"], result["behaviorClose"])
        for results in index.values()
        for case, result in results.items()
    }


def differences(
    wanted: set[str], results: dict[str, tuple[str, str]], informational: list[str]
) -> list[str]:
    """Return what is not as expected, a line for each case."""
    found = [f"{case} did not run" for case in sorted(wanted - set(results))]
    for case, (behavior, close) in sorted(results.items()):
        allowed = "INFORMATIONAL" if case in informational else "OK"
        if behavior != allowed or close not in ("OK", allowed):
            found.append(f"{case} is {behavior}, and its close {close}, not {allowed}")
    return found


def conformance(groups: tuple[list[str], ...], whole: bool, jobs: int) -> int:
    """Run the groups of cases and print the outcome; return the exit status."""
    subprocess.run([str(HERE / "setup.sh"), str(SUITE)], check=True)
    reports = SUITE / "reports" / time.strftime("%Y%m%d-%H%M%S")
    reports.mkdir(parents=True)
    started = time.monotonic()
    with serve(reports / "gunicorn.log") as url, ThreadPoolExecutor(jobs) as pool:
        outs = [reports / str(number) for number in range(len(groups))]
        ran = list(pool.map(lambda out, cases: run(url, out, cases), outs, groups))
    for text, status in ran:
        if status:
            print(text)
    if any(status == 2 for _, status in ran):
        return 2
    wanted: set[str] = set()
    results: dict[str, tuple[str, str]] = {}
    for out in outs:
        more, found = outcomes(out)
        wanted |= more
        results |= found
    expected = json.loads((HERE / "expected.json").read_text())
    wrong = differences(wanted, results, expected["INFORMATIONAL"])
    if whole and len(results) != expected["cases"]:
        wrong.append(f"{len(results)} cases ran, not {expected['cases']}")
    log = (reports / "gunicorn.log").read_text()
    if log:
        wrong.append(f"gunicorn's log is not empty:\n{log}")
    print(f"Autobahn: {len(results)} cases in {time.monotonic() - started:.0f} s")
    for name, number in (("behavior", 0), ("behaviorClose", 1)):
        count = collections.Counter(result[number] for result in results.values())
        print(f"  {name}: " + ", ".join(f"{count[key]} {key}" for key in sorted(count)))
    print("\n".join(wrong) if wrong else "  as expected")
    print(f"  reports: {reports}")
    return 1 if wrong else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cases", nargs="+", help="all, subset, or ids and patterns")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.cases == ["all"]:
        groups: tuple[list[str], ...] = ALL
    elif arguments.cases == ["subset"]:
        groups = subset()
    else:
        groups = (arguments.cases,)
    return conformance(groups, arguments.cases == ["all"], arguments.jobs)


if __name__ == "__main__":
    sys.exit(main())
