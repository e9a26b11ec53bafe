"""19,000 connections of a class with handlers in one process, and one push to all.

The server is one gunicorn sync worker; the client is another process, since each may
have 20,000 descriptors here. All connections are opened, each echoes one message, and
then one request to a plain view sends a message to their group.
"""

from __future__ import annotations

import json
import time
import urllib.request

import common


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=19_000)
    parser.add_argument("--pushes", type=int, default=5)
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    interpreter = common.new_environment(arguments.python)
    serving = common.serve(
        interpreter, "sync", arguments.cpus, BENCH_URLCONF="class_urls"
    )
    with serving as server:
        holder = common.Holder(arguments.cpus, server.address, "/listener")
        answer = holder(f"open {arguments.connections}")
        print(f"opened {answer['open']:,} in {answer['seconds']:.1f} s")
        print(f"one echo on each: {holder('echo')['seconds']:.2f} s")
        for _ in range(arguments.pushes):
            began = time.monotonic()
            url = f"http://{server.address}/push"
            with urllib.request.urlopen(url, timeout=60) as response:
                reached = json.load(response)["reached"]
            sent = time.monotonic() - began
            holder("hear")
            heard = time.monotonic() - began
            print(
                f"one push reached {reached:,}: sent after {1000 * sent:.0f} ms, "
                f"all have it after {1000 * heard:.0f} ms"
            )
        state = common.settled(server.pid)
        holder.stop()
    print(
        f"{state['rss'] / 2**20:.0f} MiB, {state['threads']} threads, "
        f"{state['fds']:,} descriptors"
    )


if __name__ == "__main__":
    main()
