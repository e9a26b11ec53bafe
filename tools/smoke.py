"""Serves the README's echo with another Python, and talks to it: smoke.py PYTHON.

PYTHON is the interpreter of an environment in which only the package is installed. This
program itself needs the test dependencies.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.docs import pages  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402

CHAT = "contrib/chat/static/dwebsocket/chat/chat.css"


def example() -> str:
    """Return the README's program."""
    found = pages.blocks(ROOT / "README.md", "python")
    return next(b.code for b in found if "execute_from_command_line" in b.code)


def connected(url: str, server: subprocess.Popen[bytes]) -> ClientConnection:
    """Connect as soon as the server listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return connect(url, proxy=None)
        except ConnectionRefusedError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def check_static_files() -> None:
    """Check that all static files and templates are installed."""
    package = Path(__file__).resolve().parents[1] / "python" / "dwebsocket"
    names = [
        str(file.relative_to(package))
        for folder in ("static", "templates")
        for file in package.glob(f"**/{folder}/**/*")
        if file.is_file()
    ]
    assert {"static/dwebsocket/dwebsocket.js", CHAT} <= set(names), names
    code = (
        "import sys; from importlib.resources import files;"
        "[files('dwebsocket').joinpath(name).read_text() for name in sys.argv[1:]]"
    )
    subprocess.run([sys.argv[1], "-c", code, *names], check=True, cwd="/")


def main() -> None:
    """Serve the example, check its echoes, and stop it."""
    check_static_files()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "echo.py")
        file.write_text(example())
        server = subprocess.Popen(
            [sys.argv[1], str(file), "runserver", "--noreload", f"127.0.0.1:{port}"],
            cwd=directory,
        )
        try:
            with connected(f"ws://127.0.0.1:{port}/echo/", server) as peer:
                for message in ("hello", "世界", b"\x00\xff", "x" * 100_000):
                    peer.send(message)
                    assert peer.recv(10) == message
        finally:
            server.terminate()
            server.wait(20)
    print(f"the README's echo works with {sys.argv[1]}")


if __name__ == "__main__":
    main()
