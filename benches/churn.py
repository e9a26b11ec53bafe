"""Do closed connections free their memory? Connections opened and closed ten times.

The server is one gunicorn sync worker. Every round opens the connections, lets each
echo one message, closes them with the close handshake, and waits until the process is
quiet. In round 1, the allocator, the cache of thread stacks and the interpreter reach
their working size. Therefore the state after round 1 is the baseline: growth in later
rounds would continue. The state before round 1 is printed as well.
"""

from __future__ import annotations

import common


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    common.raise_descriptor_limit()
    interpreter = common.new_environment(arguments.python)
    with common.serve(interpreter, "sync", arguments.cpus) as server:
        holder = common.Holder(arguments.cpus, server.address)
        holder("open 10")
        holder("echo")
        holder("close")
        states = [common.settled(server.pid)]
        for number in range(1, arguments.rounds + 1):
            opened = holder(f"open {arguments.connections}")
            holder("echo")
            full = common.state(server.pid)
            closed = holder("close")
            states.append(common.settled(server.pid))
            print(
                f"round {number}: opened in {opened['seconds']:.1f} s, "
                f"{full['rss'] / 2**20:.0f} MiB and {full['threads']:,} threads while "
                f"open, closed in {closed['seconds']:.1f} s",
                flush=True,
            )
        holder.stop()
    report(states)


def report(states: list[dict[str, int]]) -> None:
    """Print the state after each round, and the last compared with the first ones."""
    print()
    common.table(
        ["after round", "RSS MiB", "PSS MiB", "threads", "fds"],
        [
            [number]
            + [f"{state[kind] / 2**20:.1f}" for kind in ("rss", "pss")]
            + [state["threads"], state["fds"]]
            for number, state in enumerate(states)
        ],
    )
    last = states[-1]
    for number in (0, 1, 2):
        if number < len(states) - 1:
            changes = ", ".join(
                f"{kind} {100 * (last[kind] / states[number][kind] - 1):+.1f} %"
                for kind in ("rss", "pss", "threads", "fds")
            )
            print(f"last round against round {number}: {changes}")


if __name__ == "__main__":
    main()
