"""Who is in which group."""

from __future__ import annotations

PREFIX = "kill."
#: Groups in which the members see each other.
SEEN = "kill.seen."


def groups(clients: int) -> list[str]:
    """Return the groups for so many clients: some 100 of them in each."""
    count = max(4, clients // 50)
    return [f"{PREFIX if n % 5 else SEEN}{n}" for n in range(count)]


def groups_of(client: int, clients: int) -> list[str]:
    """Return the two groups of a client."""
    names = groups(clients)
    first = client % len(names)
    # Neighbours in one group are apart in the other.
    step = 1 + client // len(names) % (len(names) - 1)
    return [names[first], names[(first + step) % len(names)]]
