"""A PostgreSQL server of the tests' own, in a temporary directory."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

NAME = "postgres"


def programs() -> Path | None:
    """Return the directory with initdb and pg_ctl, None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).parent if path else None


class Cluster:
    """One running cluster, on a Unix socket only."""

    def __init__(self, bin_directory: Path) -> None:
        self._bin = bin_directory
        # The socket's path must be short, and the directory readable for its user.
        self.directory = Path(tempfile.mkdtemp(prefix="pg"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PostgreSQL does not run as root.
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self._user = {
                "user": nobody.pw_uid,
                "group": nobody.pw_gid,
                "extra_groups": [],
            }

    def _run(self, program: str, *args: str) -> str:
        done = subprocess.run(
            [str(self._bin / program), *args],
            cwd=self.directory,
            capture_output=program != "pg_ctl",
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
            **self._user,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout or ""

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def start(self) -> None:
        """Make the cluster and start it."""
        options = ["--auth=trust", f"--username={NAME}", "--no-sync", "--locale=C"]
        self._run("initdb", "--pgdata", self._data, *options)
        settings = (
            f"-c listen_addresses= -c unix_socket_directories={self.directory} "
            "-c max_connections=300 -c fsync=off"
        )
        log = str(self.directory / "log")
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", log, "-o", settings)

    def stop(self) -> None:
        """Stop it and remove everything."""
        try:
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self._data)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def connections(self) -> int:
        """Return how many clients are connected, without the one that asks."""
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        options = ["-h", str(self.directory), "-U", NAME, "-Atc", query]
        return int(self._run("psql", *options, NAME))

    def database(self, **options: Any) -> dict[str, Any]:
        """Return Django's settings for it."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": str(self.directory),
            "NAME": NAME,
            "USER": NAME,
            **options,
        }
