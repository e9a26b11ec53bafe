"""The monitoring of real servers: what is counted agrees with what clients did.

``MONITOR_CLIENTS=8000`` makes the counts larger.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.servers.brokers import Broker
from tests.servers.client import WsClient, eventually
from tests.servers.freezing import frozen
from tests.servers.harness import PYTHON, ROOT, Server
from tests.servers.nats import Nats
from tests.servers.pool import Pool
from tests.servers.redis import Redis

CLIENTS = int(os.environ.get("MONITOR_CLIENTS", "64"))
WORKERS = 8
ENV = {"SITE_URLCONF": "tests.servers.site.urls_monitor"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

BROKERS: dict[str, type[Broker] | None] = {"none": None, "redis": Redis, "nats": Nats}

pytestmark = pytest.mark.timeout(max(120, CLIENTS // 10))


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[Broker | None]:
    """Run the broker of the parameter."""
    kind = BROKERS[getattr(request, "param", "none")]
    running = kind() if kind else None
    yield running
    if running:
        running.close()


def _start(
    pool: Pool,
    directory: Path | str | None,
    broker: Broker | None = None,
    workers: int = WORKERS,
    **settings: Any,
) -> Server:
    apps = ["contenttypes", "auth", "sessions"]
    given = {
        "BROKER": broker and broker.url,
        "MONITOR_DIRECTORY": directory and str(directory),
        "SHUTDOWN_TIMEOUT": 2,
        # The clients of a large run answer no pings for minutes.
        "PING_INTERVAL": None,
    }
    return pool.fresh(
        "gunicorn-gthread",
        settings={
            "INSTALLED_APPS": [
                *(f"django.contrib.{app}" for app in apps),
                "dwebsocket",
            ],
            "DWEBSOCKET": given,
            **settings,
        },
        env=ENV,
        args=["--workers", str(workers)],
    )


def _metrics(server: Server, path: str = "/metrics") -> dict[str, float]:
    """Return the samples, by name and the values of labels other than the machine's."""
    response = server.get(path, [("Accept", OPENMETRICS)])
    assert response.status == 200, response
    assert (response.get("Content-Type") or "").startswith("application/openmetrics")
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(response.body.decode()):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "machine"}
            name = sample.name.removeprefix("dwebsocket_")
            found[" ".join([name, *labels.values()])] += sample.value
    return dict(found)


def _agree(server: Server, expected: dict[str, float]) -> None:
    """Wait until the metrics are as expected; afterwards they must stay so."""
    seen: dict[str, float] = {}

    def same() -> bool:
        found = _metrics(server)
        seen.clear()
        seen.update({name: found.get(name, 0) for name in expected})
        return seen == expected

    try:
        eventually(same, what="the metrics agree")
    except AssertionError as error:
        wrong = {k: (v, expected[k]) for k, v in seen.items() if v != expected[k]}
        raise AssertionError(f"found and expected: {wrong}") from error
    # Whichever worker answers, the figures are the same.
    for _ in range(WORKERS):
        assert same(), seen


def _wsinfo(server: Server, *words: str) -> str:
    done = subprocess.run(
        [PYTHON, "-m", "django", "wsinfo", *words],
        env=server.env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _talk(client: WsClient, messages: int) -> int:
    """Exchange messages; return the bytes each way."""
    total = 0
    for number in range(messages):
        text = "x" * (number + 1)
        client.send(text)
        assert client.receive() == text
        total += len(text)
    return total


class Crowd:
    """Clients, and what the server must have counted of them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.expected: Counter[str] = Counter()
        self.by_worker: dict[int, list[WsClient]] = {}
        view = "greenlet" if server.spec.gevent else "thread"
        self._gauges = ("connections", f"connections_by_view socket {view}")

    def enter(self, number: int) -> None:
        """Open connections to echo, and exchange three messages with each."""
        for _ in range(number):
            client = self.server.open("/echo")
            pid = str(client.receive())
            self.by_worker.setdefault(int(pid), []).append(client)
            size = _talk(client, 3)
            self.expected["connections_opened_total"] += 1
            for gauge in self._gauges:
                self.expected[gauge] += 1
            self.expected["messages_received_total"] += 3
            self.expected["messages_sent_total"] += 4
            self.expected["received_bytes_total"] += size
            self.expected["sent_bytes_total"] += size + len(pid)

    def gone(self, number: int, code: int) -> None:
        """Note that the server has seen connections end."""
        for gauge in self._gauges:
            self.expected[gauge] -= number
        self.expected[f"connections_closed_total {code}"] += number

    def leave(self) -> None:
        """Close half of the connections with 1000, drop the others."""
        for clients in self.by_worker.values():
            for place, client in enumerate(clients):
                if place % 2:
                    client.close(1000)
                    self.gone(1, 1000)
                else:
                    client.drop()
                    self.gone(1, 1006)
        self.by_worker.clear()

    def lose_a_worker(self) -> int:
        """Kill the worker with the most clients; return how many it had."""
        pid, clients = max(self.by_worker.items(), key=lambda item: len(item[1]))
        os.kill(pid, signal.SIGKILL)
        for client in clients:
            client.ended()
        self.gone(len(clients), 1006)
        del self.by_worker[pid]
        return len(clients)

    def check(self) -> None:
        """Compare."""
        _agree(self.server, dict(self.expected))


@pytest.mark.parametrize("broker", ["none", "redis", "nats"], indirect=True)
def test_eight_workers_agree_with_what_clients_did(
    pool: Pool, tmp_path: Path, broker: Broker | None
):
    server = _start(pool, tmp_path / "figures", broker)
    crowd = Crowd(server)
    crowd.enter(CLIENTS)
    for _ in range(3):
        with server.client() as client:
            client.refused("/echo", [("Origin", "https://evil.example")])
            crowd.expected["handshakes_refused_total 403"] += 1
    for _ in range(2):
        client = server.open("/broken")
        client.send("x")
        client.answer_close()
        crowd.expected["connections_opened_total"] += 1
        crowd.expected["messages_received_total"] += 1
        crowd.expected["received_bytes_total"] += 1
        crowd.expected["connections_closed_total 1011"] += 1
        crowd.expected["view_errors_total"] += 1
    crowd.check()
    assert 1 < _metrics(server)["processes"] <= WORKERS
    assert _metrics(server)["processes_silent"] == 0
    assert _metrics(server, "/machine")["connections"] == CLIENTS
    # A worker is killed: its counts stay counted, and its connections are broken.
    crowd.lose_a_worker()
    crowd.check()
    crowd.leave()
    crowd.check()


@pytest.mark.parametrize("broker", ["none", "redis"], indirect=True)
def test_a_message_to_a_group_counts_once_for_each_member(
    pool: Pool, tmp_path: Path, broker: Broker | None
):
    server = _start(pool, tmp_path / "figures", broker, workers=2 if broker else 1)
    members = [server.open("/room") for _ in range(12)]
    for member in members:
        assert member.receive() == "joined"
    for number in range(5):
        members[number].send(f"hello {number}")
        for member in members:
            assert member.receive() == f"hello {number}"
    _agree(
        server,
        {
            "messages_sent_total": 12 + 5 * 12,
            "sent_bytes_total": 12 * len("joined") + 5 * 12 * len("hello 0"),
            "messages_received_total": 5,
            "memberships": 12,
        },
    )
    found = json.loads(_wsinfo(server, "--json"))
    (group,) = found["groups"]
    assert (group["name"], group["members"]) == ("room", 12)
    assert len(found["connections"]) == 12


@pytest.mark.parametrize("broker", ["redis", "nats"], indirect=True)
def test_over_a_broker_every_machine_answers(
    pool: Pool, tmp_path: Path, broker: Broker
):
    # Two directories: as if they were on two machines.
    here, there = (
        _start(pool, tmp_path / name, broker, workers=2) for name in ("one", "two")
    )
    crowd = Crowd(there)
    crowd.enter(9)
    # The worker that is left answers for the machine, so it needs a WebSocket.
    while len(crowd.by_worker) < 2:
        crowd.enter(1)
    opened = sum(map(len, crowd.by_worker.values()))
    crowd.server = here
    crowd.check()
    lost = crowd.lose_a_worker()
    crowd.check()
    assert _metrics(here, "/machine").get("connections", 0) == 0
    found = json.loads(_wsinfo(here, "--json"))
    assert len(found["connections"]) == opened - lost


def test_greenlets_are_counted_alike(pool: Pool, tmp_path: Path):
    server = pool.fresh(
        "gunicorn-gevent",
        settings={"DWEBSOCKET": {"MONITOR_DIRECTORY": str(tmp_path / "figures")}},
        env=ENV,
        args=["--workers", "2"],
    )
    crowd = Crowd(server)
    crowd.enter(8)
    crowd.leave()
    crowd.check()


def test_counts_survive_hup_and_a_new_start(pool: Pool, tmp_path: Path):
    server = _start(pool, tmp_path / "figures", workers=2)
    crowd = Crowd(server)
    crowd.enter(10)
    crowd.check()
    server.process.send_signal(signal.SIGHUP)
    for clients in crowd.by_worker.values():
        for client in clients:
            client.answer_close()
            crowd.gone(1, 1012)
    crowd.by_worker.clear()
    crowd.check()
    crowd.enter(3)
    crowd.leave()
    crowd.check()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    again = _start(pool, tmp_path / "figures", workers=1)
    crowd.server = again
    crowd.enter(2)
    crowd.check()


def test_two_sites_on_one_machine_do_not_mix(pool: Pool):
    sites = [
        _start(pool, None, workers=1, SECRET_KEY=f"the key of site {number}")
        for number in range(2)
    ]
    clients = [site.open("/echo") for site in sites for _ in range(2)]
    for client in clients:
        client.receive()
    for site in sites:
        _agree(site, {"connections": 2, "processes": 1})
        lines = json.loads(_wsinfo(site, "--json"))
        assert len(lines["connections"]) == 2


def test_without_a_directory_everything_else_works(pool: Pool):
    server = _start(pool, "/dev/null/figures", workers=1)
    client = server.open("/echo")
    client.receive()
    assert _talk(client, 2) == 3
    text = server.logged("cannot be kept in /dev/null/figures")
    assert text.count("cannot be kept") == 1
    assert "MONITOR_DIRECTORY" in text
    _agree(server, {"connections": 1, "messages_received_total": 2, "processes": 1})


@pytest.mark.parametrize("trap", ["open to others", "a link", "a file"])
def test_a_directory_that_others_could_write_is_not_used(
    pool: Pool, tmp_path: Path, trap: str
):
    place = tmp_path / "figures"
    if trap == "open to others":
        place.mkdir()
        place.chmod(0o777)
    elif trap == "a link":
        (tmp_path / "other").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "other")
    else:
        place.write_text("")
    server = _start(pool, place, workers=1)
    server.open("/echo").receive()
    server.logged("cannot be kept in")
    _agree(server, {"connections": 1})
    assert not list(tmp_path.glob("*/*.figures"))


def test_strange_files_are_left_out(pool: Pool, tmp_path: Path):
    place = tmp_path / "figures"
    place.mkdir(mode=0o700)
    (place / "0000000000000001.figures").write_text("hello")
    (place / "0000000000000002.figures").write_bytes(bytes(36_352))
    (place / "0000000000000003.figures").symlink_to("/etc/passwd")
    (place / "0000000000000004.figures").mkdir()
    (place / "ended").write_bytes(os.urandom(100))
    server = _start(pool, place, workers=1)
    server.open("/echo").receive()
    _agree(server, {"connections": 1, "connections_opened_total": 1, "processes": 1})


def test_a_stopped_worker_is_counted_and_called_silent(pool: Pool, tmp_path: Path):
    server = _start(pool, tmp_path / "figures", workers=3)
    crowd = Crowd(server)
    while len(crowd.by_worker) < 2:
        crowd.enter(1)
    pid = min(crowd.by_worker)
    with frozen(pid):
        found = json.loads(_wsinfo(server, "--json"))
        silent = [one for one in found["processes"] if not one["answered"]]
        assert [one["pid"] for one in silent if one["connections"]] == [pid]
        opened = crowd.expected["connections_opened_total"]
        assert found["totals"]["opened"] == opened
        text = _wsinfo(server)
        assert "no answer" in text
    crowd.check()


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_readiness_says_that_the_broker_is_away(
    pool: Pool, tmp_path: Path, broker: Broker
):
    server = _start(pool, tmp_path / "figures", broker, workers=1)
    assert server.get("/live").status == 200

    def status() -> Any:
        response = server.get("/ready")
        assert response.status == 200
        return json.loads(response.body)["status"]

    eventually(lambda: status() == "ready", what="ready")
    server.open("/echo").receive()
    _agree(server, {"broker_up": 1})
    broker.kill()
    eventually(lambda: status() == "degraded", what="degraded")
    _agree(server, {"broker_up": 0, "connections": 1})
    broker.start()
    eventually(lambda: status() == "ready", what="ready again")


def test_wsinfo_prints_the_same_in_a_terminal(pool: Pool, tmp_path: Path):
    server = _start(pool, tmp_path / "figures", workers=2)
    crowd = Crowd(server)
    crowd.enter(6)
    text = _wsinfo(server)
    assert "connections: 6 open, 6 opened" in text
    assert "18 received, 24 sent" in text
    assert text.count("/echo") == 6
    assert "127.0.0.1" in text
    assert len(json.loads(_wsinfo(server, "--json", "--rows", "2"))["connections"]) == 2
    assert _wsinfo(server, "--search", "/ECHO").count("/echo") == 6
    assert _wsinfo(server, "--search", "nobody").count("/echo") == 0


def test_wsinfo_watches_until_it_is_interrupted(pool: Pool, tmp_path: Path):
    server = _start(pool, tmp_path / "figures", workers=1)
    server.open("/echo").receive()
    watching = subprocess.Popen(
        [PYTHON, "-m", "django", "wsinfo", "--watch", "0.1"],
        env=server.env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    rounds = 0
    for line in watching.stdout:
        rounds += line.startswith("connections: 1 open")
        if rounds == 3:
            break
    assert "/s)" in line
    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 0
    watching.stdout.close()
