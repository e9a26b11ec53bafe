"""Whether connections give back what they took: opened and closed, ten times over.

One gunicorn sync worker. Every round opens the connections, lets each echo one
message, closes them with the close handshake, and waits until the process is quiet.
Round 1 brings the allocator, the thread stacks' cache and the interpreter to their
working size; so the state after it is the baseline, and what the rounds after it add
is what would go on growing. The state before round 1 is printed as well.
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
    """Print the state after each round, and the last beside the first."""
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
