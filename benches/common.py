"""Code that the benchmarks share: builds, environments, servers, the load program."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ENVIRONMENTS = Path(os.environ.get("BENCH_VENVS", ROOT / ".venvs"))


def parser(description: str | None, *, pins: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every benchmark has.

    Without ``pins`` the caller chooses the processors and sets ``cpus`` itself.
    """
    made = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--python", default="python3.11", help="CPython for the servers")
    if pins:
        made.add_argument(
            "--cpus",
            default="0,1:2,3" if (os.cpu_count() or 1) >= 4 else "none",
            help="processors of the server and of the client; 'none' pins nothing",
        )
    made.add_argument(
        "--quiet",
        type=float,
        metavar="CPUS",
        help="measure only while other work takes less than so many processors",
    )
    return made


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one, for all children too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pinned(command: Sequence[str], cpus: str, side: int) -> list[str]:
    """Return the command that runs on the processors of one side of ``--cpus``."""
    if cpus == "none":
        return list(command)
    return ["taskset", "-c", cpus.split(":")[side], *command]


@functools.cache
def cargo(package: str, binary: str, tree: Path = ROOT) -> str:
    """Build a program of a tree's ``benches/`` in release mode and return its path."""
    manifest = tree / "benches" / package / "Cargo.toml"
    target = target_of(tree)
    subprocess.run(
        ["cargo", "build", "--release", "--quiet"]
        + ["--manifest-path", str(manifest), "--target-dir", str(target)],
        check=True,
    )
    return str(target / "release" / binary)


def target_of(tree: Path) -> Path:
    """Return the directory where a tree's programs are built; each tree has its own."""
    # Cargo takes two trees for the same one and would not build the second anew.
    return TARGET if tree == ROOT else TARGET / "before" / tree.name[:12]


def load(
    arguments: argparse.Namespace, command: str, *pids: int, **options: object
) -> dict[str, float]:
    """Run the load program against server processes; return the figures it printed.

    The figure "others" is how many processors other work took meanwhile. If this is
    more than ``--quiet`` allows, the run is discarded and repeated.
    """
    while True:
        if arguments.quiet is not None:
            wait_for(lambda: others(1, *pids) < arguments.quiet, 3600)
        with Others(*pids) as measured:
            result = load_once(arguments.cpus, command, pids, options)
        if arguments.quiet is None or measured.processors < arguments.quiet:
            return result | {"others": measured.processors}


class Failed(Exception):
    """A run of the load program failed, or the server did wrong; the text says why."""


def load_once(
    cpus: str,
    command: str,
    pids: Iterable[int],
    options: Mapping[str, object],
    limit: float | None = None,
) -> dict[str, Any]:
    """Run the load program for at most ``limit`` seconds; return what it printed.

    Raises:
        Failed: It ended with an error. It does if one message was not right.
    """
    words = [cargo("load", "load"), command, "--pid", ",".join(map(str, pids))]
    for name, value in options.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    try:
        run = subprocess.run(
            pinned(words, cpus, 1), capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"the load program took more than {limit:g} s") from error
    if run.returncode:
        raise Failed(run.stderr.strip().removeprefix("load: "))
    printed: dict[str, Any] = json.loads(run.stdout)
    return printed


class Others:
    """Measures how many processors other work takes while the block runs."""

    def __init__(self, *pids: int) -> None:
        """Exclude this program, its ended children, and the given processes."""
        self.pids = pids

    def read(self) -> tuple[float, float]:
        """Return the time, and the CPU time that other work has used so far."""
        user, nice, system, _, _, irq, soft, steal = (
            int(word) for word in Path("/proc/stat").read_text().split()[1:9]
        )
        busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        usages = [
            resource.getrusage(who)
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return time.monotonic(), busy - own - sum(map(cpu_seconds, self.pids))

    def __enter__(self) -> Others:
        """Begin to measure."""
        self.start = self.read()
        return self

    def __exit__(self, *_: object) -> None:
        """End the measurement, and compute ``processors``."""
        (start, before), (end, after) = self.start, self.read()
        self.processors = max(0.0, (after - before) / (end - start))


def others(seconds: float, *pids: int) -> float:
    """Return how many processors other work takes now."""
    with Others(*pids) as measured:
        time.sleep(seconds)
    return measured.processors


class Holder:
    """``load hold``: connections that stay open until they are told to close."""

    def __init__(
        self, cpus: str, address: str, path: str = "/echo", *more: str
    ) -> None:
        """Start the program, without any connection yet."""
        words = [cargo("load", "load"), "hold", "--address", address, "--path", path]
        words += more
        self.process = subprocess.Popen(
            pinned(words, cpus, 1),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, command: str) -> dict[str, float]:
        """Give a command ("open 500", "echo", "close", "check"); return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"load hold: {command!r} failed")
        answer: dict[str, float] = json.loads(line)
        if answer["broken"]:
            raise SystemExit(f"the server broke {answer['broken']} connections off")
        return answer

    def stop(self) -> None:
        """End the program."""
        self.process.communicate()


def environment(name: str, python: str, requirements: Iterable[str]) -> Path:
    """Return the interpreter of a virtual environment that has the requirements.

    Args:
        name: The environment's name.
        python: The interpreter that makes it.
        requirements: Arguments of ``pip install``; none if nothing is to be installed.
    """
    place = ENVIRONMENTS / f"bench-{name}"
    interpreter = place / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(place)], check=True)
    words = list(requirements)
    if words:
        pip(interpreter, *words)
    return interpreter


def pip(interpreter: Path, *arguments: str) -> None:
    """Run ``pip install`` quietly; the error of a failure has pip's own words."""
    command = [str(interpreter), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", *arguments]
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(run.stderr)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, command, stderr=run.stderr)


def profile() -> dict[str, str]:
    """Return the variables that change how cargo builds; none: as users build."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith("CARGO_PROFILE_RELEASE_") or name == "RUSTFLAGS"
    }


@functools.cache
def new_environment(python: str, tree: Path = ROOT) -> Path:
    """Build a tree's package in release mode; return an interpreter that has it."""
    name = "new" if tree == ROOT else f"before-{tree.name[:12]}"
    # gunicorn's worker for gevent needs packaging.
    requirements = ["Django", "gunicorn", "gevent", "packaging", "prometheus-client"]
    requirements.append("maturin>=1.9.4,<2")
    interpreter = environment(name, python, ["--upgrade", *requirements])
    # A commit stays as it is: it is built once for each profile.
    built = interpreter.parent.parent / "built.json"
    if tree == ROOT:
        install_package(interpreter)
    elif not built.exists() or json.loads(built.read_text()) != profile():
        install_package(interpreter, tree)
        built.write_text(json.dumps(profile()))
    return interpreter


def install_package(interpreter: Path, tree: Path = ROOT) -> None:
    """Build a tree's package in release mode into an environment that has maturin."""
    # A target directory of its own: the servers of "engine" build the same library
    # without the Python bindings, and would replace this one.
    target = str(target_of(tree) / "wheel")
    with tempfile.TemporaryDirectory() as wheels:
        subprocess.run(
            [str(interpreter.parent / "maturin"), "build", "--release", "--quiet"]
            + ["--manifest-path", str(tree / "Cargo.toml"), "--out", wheels]
            + ["--interpreter", str(interpreter), "--target-dir", target],
            check=True,
        )
        pip(
            interpreter,
            "--force-reinstall",
            "--no-deps",
            *map(str, Path(wheels).iterdir()),
        )


class Server:
    """A server of the project in ``benches/project``, and its worker process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Remember a server that listens already."""
        self.process = process
        self.address = f"127.0.0.1:{port}"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        # The only worker of gunicorn; a server without children is its own worker.
        self.pid = int((children.split() or [str(process.pid)])[0])


@contextlib.contextmanager
def serve(
    interpreter: Path, kind: str, cpus: str, **variables: str
) -> Iterator[Server]:
    """Serve the project until the block ends.

    ``kind`` is "runserver" or gunicorn's worker class: "gthread", "sync", "gevent".

    ``variables`` are added to the server's environment.
    """
    port = free_port()
    if kind == "runserver":
        words = ["-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"]
    else:
        words = ["-m", "gunicorn", "wsgi", "--workers", "1", "--worker-class", kind]
        words += ["--bind", f"127.0.0.1:{port}", "--backlog", "4096"]
        words += ["--log-level", "warning"]
        words += ["--threads", "200"] if kind == "gthread" else []
    project = HERE / "project"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            pinned([str(interpreter), *words], cpus, 0),
            cwd=project,
            env=os.environ
            | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(project)}
            | variables,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(lambda: listens(port) or process.poll() is not None, 30)
            if process.poll() is not None:
                raise SystemExit("the server did not start")
            yield Server(process, port)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    """Return a port that no process uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Return whether an HTTP request to the port is answered."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return client.recv(12).endswith(b"200")
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds:.0f} s in vain")
        time.sleep(0.05)


def state(pid: int) -> dict[str, int]:
    """Return a process's memory in bytes, its threads and its descriptors."""
    process = Path("/proc") / str(pid)
    found = {"threads": len(list((process / "task").iterdir()))}
    found["fds"] = len(list((process / "fd").iterdir()))
    for line in (process / "smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            found[name.lower()] = int(value.split()[0]) * 1024
    return found


def settled(pid: int, limit: float = 20) -> dict[str, int]:
    """Return the state once it is unchanged for a second (RSS within 0.2 %)."""
    deadline = time.monotonic() + limit
    before = state(pid)
    while True:
        time.sleep(1)
        now = state(pid)
        same = all(now[name] == before[name] for name in ("threads", "fds"))
        if same and abs(now["rss"] - before["rss"]) <= 0.002 * before["rss"]:
            return now
        if time.monotonic() > deadline:
            print(f"(not settled within {limit:.0f} s)")
            return now
        before = now


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    # The kernel's number for another process's CPU clock (clock_getcpuclockid(3)).
    return time.clock_gettime((~pid << 3) | 2)


def median(runs: Iterable[dict[str, float]], name: str) -> float:
    """Return the median of one figure over several runs."""
    return statistics.median(run[name] for run in runs)


def ratio(
    some: Iterable[dict[str, float]], others: Iterable[dict[str, float]], name: str
) -> float:
    """Return the median of the ratios of one figure, round by round.

    Anything that slows the machine down for a while slows both runs of a round.
    """
    pairs = zip(some, others, strict=True)
    return statistics.median(one[name] / other[name] for one, other in pairs)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table, the first column flush left and the rest flush right."""
    lines = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [
            cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)
        ]
        print("  ".join(cells))


def print_others(runs: Iterable[Iterable[dict[str, float]]]) -> None:
    """Print how quiet the machine was."""
    loads = [run["others"] for some in runs for run in some]
    print(
        f"\nother work on the machine took {statistics.median(loads):.2f} processors "
        f"(median), {max(loads):.2f} at most"
    )
