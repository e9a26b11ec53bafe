"""The report in Markdown: a table for each scenario and setting of the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runner.results import Key, Results, Spread

OURS = "ours"
# Figures below one microsecond keep two digits, others are rounded to three or four.
SMALL = 10
# What every environment has and no figure depends on.
DULL = {"pip", "setuptools", "wheel", "maturin", "tomli"}


@dataclass(frozen=True)
class Column:
    """A figure in a table.

    Attributes:
        figure: Its name in the results.
        title: The heading.
        spread: Whether the lowest and the highest repetition are shown.
        ratio: Whether it is compared with this package.
        more: Whether more is better.
    """

    figure: str
    title: str
    spread: bool = True
    ratio: bool = True
    more: bool = False


@dataclass(frozen=True)
class Section:
    """A scenario of the report.

    Attributes:
        scenario: Its name in the results.
        title: The heading, with the number of connections if there are several.
        text: What was measured.
        columns: The figures.
        plot: The name of the plot that shows it, one for each setting if it contains
            "{setting}"; empty: none of its own.
    """

    scenario: str
    title: str
    text: str
    columns: tuple[Column, ...]
    plot: str = ""


CPU = Column("cpu_us", "CPU µs a message")
RATE = Column("rate", "messages/s", more=True)
P50 = Column("p50_us", "p50 µs", spread=False, ratio=False)
P99 = Column("p99_us", "p99 µs", spread=False, ratio=False)
CLIENT = Column("client_us", "load's CPU µs", spread=False, ratio=False)

SECTIONS = (
    Section(
        "echo-32",
        "Echo, 32 bytes, one in flight",
        "100 connections, each of which sends a message when the echo of the last one "
        "is there.",
        (CPU, RATE, P50, P99, CLIENT),
        "echo-32",
    ),
    Section(
        "echo-32-8",
        "Echo, 32 bytes, eight in flight",
        "100 connections with eight messages on their way.",
        (CPU, RATE, P50, P99, CLIENT),
        "echo-32-8",
    ),
    Section(
        "echo-64k",
        "Echo, 64 KiB",
        "100 connections with one message on its way.",
        (CPU, RATE, P50, P99, CLIENT),
        "echo-64k",
    ),
    Section(
        "latency",
        "One connection",
        "One connection with one message of 32 bytes on its way: the time from sending "
        "it to its echo.",
        (Column("p50_us", "p50 µs"), Column("p99_us", "p99 µs"), CPU),
        "latency",
    ),
    Section(
        "handshake",
        "Handshakes",
        "Connections that open, echo once and close. CPU time and connections a second "
        "with eight at a time; with one at a time, the time until the handshake is "
        "answered, that of an HTTP GET of a plain view on a connection of its own, and "
        "the difference.",
        (
            Column("cpu_us", "CPU µs each"),
            Column("rate", "connections/s", more=True),
            Column("p50_us", "answered, p50 µs", spread=False),
            Column("get_us", "GET, p50 µs", spread=False, ratio=False),
            Column("over_us", "over GET µs", ratio=False),
            Column("over_cpu_us", "CPU over GET µs", spread=False, ratio=False),
        ),
        "handshake",
    ),
    *(
        Section(
            f"fanout-{depth}",
            f"Fan-out to {{:,}}, {words} in flight",
            "One publisher; each message of 128 bytes goes to all members. Figures "
            "count deliveries.",
            (
                Column("cpu_us", "CPU µs a delivery"),
                Column("rate", "deliveries/s", more=True),
                P50,
                P99,
                CLIENT,
            ),
            "fanout-{setting}" if depth == 1 else "",
        )
        for depth, words in ((1, "one"), (16, "16"))
    ),
    Section(
        "idle",
        "Memory of an idle connection",
        "Resident memory of a connection that has echoed once and waits, with all that "
        "comes along: the request, the thread or the task.",
        (Column("kib", "KiB each"),),
        "idle",
    ),
)
GROWTH = (
    ("growth-echo", "Growth: echo, all connections active", "growth-{setting}"),
    ("growth-few", "Growth: echo, one connection of twenty active", ""),
    ("growth-fanout", "Growth: fan-out, one message in flight", ""),
)
HEAD = """\
<!-- Made by `{command}`; `make bench REPORT=FILE` makes it anew of saved results. -->

# Benchmarks

This page was made by `{command}`; [benches/README.md](../benches/README.md) says how it
measures. Figures are medians of the repetitions; in parentheses, the lowest and the
highest. "× ours" is the median of the rounds' ratios of a peer to the first row, this
package under gthread; **bold** where the peer is ahead of it. FAILED: a message was
lost, doubled or changed, or the server did not do what it should; the reasons are at
the end.
"""


def markdown(results: Results) -> str:
    """Return the whole report."""
    lines = [HEAD.format(command=results.command)]
    lines += machine(results)
    for section in SECTIONS:
        lines += scenario(results, section)
    for name, title, plot in GROWTH:
        lines += growth(results, name, title, plot)
    lines += failures(results)
    lines += versions(results)
    return "\n".join(lines).rstrip() + "\n"


def machine(results: Results) -> Iterator[str]:
    """Say what was measured on, and how quiet it was."""
    yield "## The machine"
    yield ""
    yield from table(
        ["", ""], [[name, told] for name, told in results.machine.items()], 2
    )
    loads = sorted(
        run.figures["others"]
        for some in results.runs.values()
        for run in some
        if "others" in run.figures
    )
    if loads:
        spread = Spread.of(loads)
        yield (
            f"Other work took {spread.median:.2f} processors (median), "
            f"{spread.high:.2f} at most."
        )
        yield ""
    for name, title in results.settings.items():
        yield f"* `{name}`: {title}"
    yield ""


def scenario(results: Results, section: Section) -> Iterator[str]:
    """Return the tables of a scenario, for each number of connections and setting."""
    sizes = results.sizes(section.scenario)
    for at in sizes:
        yield f"## {section.title.format(at)}"
        yield ""
        if at == sizes[0]:
            yield section.text
            yield ""
        shown = ""
        for setting, title in results.settings.items():
            peers = results.measured(section.scenario, at, setting)
            keys = [(section.scenario, at, setting, peer) for peer in peers]
            plot = section.plot.format(setting=setting) if at == sizes[0] else ""
            if plot != shown and drawn(results, section.columns[0], keys):
                shown = plot
                yield from image(plot, section.title.format(at))
            if peers:
                yield f"`{setting}`: {title}"
                yield ""
                yield from peer_table(results, section, keys)


def drawn(results: Results, column: Column, keys: Sequence[Key]) -> bool:
    """Return whether there is anything that a plot could show."""
    return any(results.spread(column.figure, key) for key in keys)


def image(name: str, title: str) -> Iterator[str]:
    """Show a plot; it leads to the one that can be enlarged."""
    yield f"[![{title}](images/bench/{name}.png)](images/bench/{name}.svg)"
    yield ""


def peer_table(
    results: Results, section: Section, keys: Sequence[Key]
) -> Iterator[str]:
    """Return a table with one row for each peer."""
    columns = [
        column
        for column in section.columns
        if any(results.spread(column.figure, key) for key in keys)
    ] or [section.columns[0]]
    heads = ["server"]
    for column in columns:
        heads += [column.title, *(["× ours"] if column.ratio else [])]
    rows = []
    for key in keys:
        name, group = results.peers[key[3]]
        row = [f"**{name}**" if group == "ours" else name]
        for column in columns:
            row += cells(results, column, key)
        rows.append(row)
    yield from table(heads, rows)


def cells(results: Results, column: Column, key: Key) -> Iterator[str]:
    """Return a figure, and its ratio to this package's."""
    failed = results.failure(key) is not None
    spread = results.spread(column.figure, key)
    if failed or spread is None:
        yield "FAILED" if failed else "–"
        if column.ratio:
            yield "–"
        return
    yield told(spread) if column.spread else number(spread.median)
    if column.ratio:
        yield ratio(results.ratio(column.figure, key, OURS), column, key)


def ratio(value: float | None, column: Column, key: Key) -> str:
    """Return a ratio, marked if the peer is ahead."""
    if value is None or key[3] == OURS:
        return "1" if value is not None else "–"
    text = number(value) if value >= SMALL else f"{value:.2f}"
    ahead = value > 1 if column.more else value < 1
    return f"**{text}**" if ahead else text


def told(spread: Spread) -> str:
    """Return a median with the lowest and the highest value, if there are several."""
    if spread.low == spread.high:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)}–{number(spread.high)})"


def number(value: float) -> str:
    """Return a figure with about three digits."""
    if abs(value) < 1:
        return f"{value:.3f}"
    if abs(value) < SMALL:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < SMALL**2 else f"{value:,.0f}"


def growth(results: Results, name: str, title: str, plot: str) -> Iterator[str]:
    """Return how the CPU time of a message grows with the connections."""
    sizes = results.sizes(name)
    for setting in results.settings:
        peers = [
            peer
            for peer in results.peers
            if any((name, at, setting, peer) in results.runs for at in sizes)
        ]
        if not peers:
            continue
        yield f"## {title}"
        yield ""
        yield (
            "The server's CPU time in µs for each message, by the number of "
            f"connections (`{setting}`), and the factor from 100 to the most."
        )
        yield ""
        if plot:
            name_of = plot.format(setting=setting)
            yield from image(name_of, "CPU time of a message by the connections")
        rows = []
        for peer in peers:
            keys = [(name, at, setting, peer) for at in sizes]
            title_of, group = results.peers[peer]
            row = [f"**{title_of}**" if group == "ours" else title_of]
            rows.append(
                [*row, *(grown(results, key) for key in keys), factor(results, keys)]
            )
        yield from table(["server", *(f"{at:,}" for at in sizes), "factor"], rows)


def grown(results: Results, key: Key) -> str:
    """Return the CPU time of a message."""
    if results.failure(key) is not None:
        return "FAILED"
    spread = results.spread("cpu_us", key)
    return number(spread.median) if spread else "–"


def factor(results: Results, keys: Sequence[Key]) -> str:
    """Return the growth from 100 connections to the most that were measured."""
    found = {key[1]: results.spread("cpu_us", key) for key in keys if key[1] >= 100}
    known = {at: spread.median for at, spread in found.items() if spread is not None}
    if 100 not in known or len(known) < 2 or not known[100]:
        return "–"
    most = max(known)
    return f"{known[most] / known[100]:.2f} at {most:,}"


def failures(results: Results) -> Iterator[str]:
    """List what failed, and why."""
    rows = [
        [results.peers[peer][0], "everything", "", line(reason)]
        for peer, reason in results.unavailable.items()
    ]
    for (name, at, setting, peer), runs in results.runs.items():
        reasons = [run.failure for run in runs if run.failure is not None]
        if reasons:
            what = f"{name}, {at:,}" if at else name
            how = f"{setting}, {len(reasons)} of {len(runs)}"
            rows.append([results.peers[peer][0], what, how, line(reasons[0])])
    if rows:
        yield "## Failed"
        yield ""
        yield from table(["server", "scenario", "setting, rounds", "reason"], rows, 4)


def line(text: str) -> str:
    """Return a reason as the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")[-300:]


def versions(results: Results) -> Iterator[str]:
    """List the versions that each server ran with."""
    if not results.versions:
        return
    yield "## Versions"
    yield ""
    rows = []
    for peer, (title, _) in results.peers.items():
        found = results.versions.get(peer, {})
        words = [
            f"{name} {version}" for name, version in found.items() if name not in DULL
        ]
        if words:
            rows.append([title, ", ".join(words)])
    yield from table(["server", "versions"], rows, 2)


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1
) -> Iterator[str]:
    """Return a table; so many columns are words, flush left, the others figures."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * words + "--:|" * (len(heads) - words)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""
