"""What the page for staff costs, in the browser and in the server.

The server is one gunicorn gthread worker with many connections. A headless Chromium
opens the page: first while all connections are idle, then while some of those on the
page exchange messages all the time, so that each update changes rows; then with nine
more such pages, which share one asker in the server. The browser's
part is that of the page's renderer process; a plain page of the same site shows what
any page takes. The server's part is its processor time with the page, and without it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import common
from chromium import Chromium, Tab, cpu, memory
from floods import FIN, TEXT, connect, frame

MESSAGE = frame(FIN | TEXT, b"n" * 32)
#: Seconds between two messages on each busy connection.
PAUSE = 0.5
#: The pages that are open beside that of the browser, in the last part.
PAGES = 9
LIVE = "/admin/websockets/live/"


@contextmanager
def busy(lines: list[socket.socket]) -> Iterator[None]:
    """Exchange messages on some connections until the block ends."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(PAUSE):
            for line in lines:
                line.sendall(MESSAGE)
            for line in lines:
                line.recv(4096)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def server_share(server: common.Server, seconds: float) -> float:
    """Return the percentage of one processor that the server takes."""
    before = common.cpu_seconds(server.pid)
    time.sleep(seconds)
    return 100 * (common.cpu_seconds(server.pid) - before) / seconds


@contextmanager
def watched(port: int, pages: int) -> Iterator[None]:
    """Have so many more pages open until the block ends, without a browser."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", "/enter")
    cookies = client.getresponse().headers.get_all("Set-Cookie") or []
    client.close()
    cookie = "; ".join(one.partition(";")[0] for one in cookies)
    more = f"Cookie: {cookie}\r\n"
    lines = [connect(port, LIVE, False, more) for _ in range(pages)]
    view = json.dumps({"type": "data", "data": {"monitor": "view", "number": 1}})
    for line in lines:
        line.sendall(frame(FIN | TEXT, view.encode()))
        line.settimeout(60)
        threading.Thread(target=_drain, args=(line,)).start()
    try:
        yield
    finally:
        for line in lines:
            line.shutdown(socket.SHUT_RDWR)


def _drain(line: socket.socket) -> None:
    while line.recv(65_536):
        pass
    line.close()


class Measured:
    """A page in its renderer process."""

    def __init__(self, browser: Chromium, url: str) -> None:
        self.tab: Tab = browser.tab(url)
        common.wait_for(lambda: self.tab.run("document.readyState") == "complete", 60)
        time.sleep(2)
        # Chromium has more renderers than tabs: the tab's is the one that works now.
        before = {pid: cpu(pid) for pid in browser.renderers()}
        self.tab.run("for (const t = Date.now(); Date.now() - t < 500;);")
        alive = browser.renderers() & before.keys()
        self.pid = max(alive, key=lambda pid: cpu(pid) - before[pid])

    def measure(self, server: common.Server, seconds: float) -> list[str]:
        """Return the cells of a row: browser, then server."""
        began = cpu(self.pid)
        share = server_share(server, seconds)
        own = 100 * (cpu(self.pid) - began) / seconds
        metrics = self.tab.metrics()
        held = memory(self.pid)
        return [
            f"{own:.2f}",
            f"{metrics['JSHeapUsedSize'] / 2**20:.1f}",
            f"{metrics['Nodes']:,.0f}",
            f"{held['private']:.0f}",
            f"{held['rss']:.0f}",
            f"{share:.2f}",
        ]


def measure(
    server: common.Server, program: str, connections: int, seconds: float
) -> None:
    """Measure with one server."""
    port = int(server.address.split(":")[1])
    lines = [connect(port, "/echo", False) for _ in range(connections)]
    alone = server_share(server, seconds)
    rows = [["no page", "", "", "", "", "", f"{alone:.2f}"]]
    with Chromium(program) as browser:
        # A page of another host name gets a renderer of its own.
        plain = Measured(browser, f"http://localhost:{port}/hello")
        rows.append(["a plain page", *plain.measure(server, seconds)])
        page = Measured(browser, f"http://127.0.0.1:{port}/enter")
        shown = "document.querySelectorAll('[data-part=connections] tbody tr').length"
        common.wait_for(lambda: page.tab.run(shown) == 50, 60)
        time.sleep(5)
        rows.append(["all idle", *page.measure(server, seconds)])
        with busy(lines[:50]):
            time.sleep(5)
            rows.append(["50 busy", *page.measure(server, seconds)])
            with watched(port, PAGES):
                time.sleep(5)
                rows.append([f"+ {PAGES} pages", *page.measure(server, seconds)])
        number = page.tab.run(
            "document.querySelector('[data-figure=connections]').textContent"
        )
    common.table(
        [
            f"{connections:,} connections",
            "tab CPU %",
            "JS heap MiB",
            "DOM nodes",
            "private MiB",
            "RSS MiB",
            "server CPU %",
        ],
        rows,
    )
    print(f"The page shows {number} connections.")
    for line in lines:
        line.close()


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20, help="for each part")
    parser.add_argument(
        "--interpreter", type=Path, help="a Python that has everything; builds nothing"
    )
    parser.add_argument(
        "--chromium", default=shutil.which("chromium"), help="the browser's program"
    )
    arguments = parser.parse_args()
    if not arguments.chromium:
        raise SystemExit("chromium is needed: --chromium PATH")
    common.raise_descriptor_limit()
    run(arguments, arguments.interpreter or common.new_environment(arguments.python))


def run(arguments: argparse.Namespace, interpreter: Path) -> None:
    """Make the database, and measure with one server."""
    interpreter = interpreter.absolute()
    with tempfile.TemporaryDirectory() as place:
        variables = {
            "BENCH_URLCONF": "staff_urls",
            "BENCH_STAFF": str(Path(place, "db.sqlite3")),
        }
        project = common.HERE / "project"
        subprocess.run(
            [str(interpreter), "-m", "django", "migrate", "--verbosity=0"],
            check=True,
            env=os.environ
            | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(project)}
            | variables,
        )
        with common.serve(
            interpreter, "gthread", arguments.cpus, **variables
        ) as server:
            measure(
                server, arguments.chromium, arguments.connections, arguments.seconds
            )


if __name__ == "__main__":
    main()
