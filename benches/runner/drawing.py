"""Draws the plots of the report: ``python -m runner.drawing RESULTS DIRECTORY``.

It runs in an environment that has matplotlib. The colours are those of Okabe and Ito,
which people with any colour vision tell apart; markers differ as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]

from runner.results import Key, Results, Spread, load

# Of each group: the colour, the marker, the words of the legend.
GROUPS = {
    "ours": ("#D55E00", "o", "this package"),
    "old": ("#000000", "s", "dwebsocket 0.5.12"),
    "python": ("#0072B2", "D", "Python"),
    "rust": ("#009E73", "^", "Rust without Python"),
}
# Of each line of the growth: the colour and the marker.
LINES = [
    ("#D55E00", "o"),
    ("#E69F00", "s"),
    ("#000000", "D"),
    ("#0072B2", "^"),
    ("#56B4E9", "v"),
    ("#CC79A7", "P"),
    ("#009E73", "X"),
    ("#999933", "*"),
]
# Of each plot that compares the peers: its name, its title, the unit, the figure.
CPU = "server's CPU µs"
PLOTS = [
    ("echo-32", "Echo, 32 bytes, one in flight", CPU, "cpu_us"),
    ("echo-32-8", "Echo, 32 bytes, eight in flight", CPU, "cpu_us"),
    ("echo-64k", "Echo, 64 KiB, one in flight", CPU, "cpu_us"),
    ("latency", "One connection: time of an echo", "p50 µs", "p50_us"),
    ("handshake", "Handshakes: open, echo once, close", "CPU µs each", "cpu_us"),
    ("idle", "Memory of an idle connection", "KiB", "kib"),
]
STYLE: dict[str, Any] = {
    "svg.hashsalt": "benchmarks",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "figure.dpi": 120,
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Panel:
    """One set of axes: a figure of all peers in one scenario and setting."""

    title: str
    scenario: str
    at: int
    setting: str
    figure: str = "cpu_us"


def save(figure: Any, place: Path, name: str) -> None:
    """Write a plot; the same figures give the same files."""
    # Without the date and the version of matplotlib.
    figure.savefig(place / f"{name}.svg", metadata={"Date": None, "Creator": None})
    figure.savefig(place / f"{name}.png", metadata={"Software": None})


def compare(
    plt: Any,
    results: Results,
    place: Path,
    name: str,
    panels: Sequence[Panel],
    **words: str,
) -> None:
    """Draw a dot for every peer, with a line from the lowest to the highest value."""
    shown = [panel for panel in panels if values(results, panel)]
    if not shown:
        return
    names = [
        peer
        for peer in results.peers
        if any((p.scenario, p.at, p.setting, peer) in results.runs for p in shown)
    ]
    size = (2.6 + 2.9 * len(shown), 1.5 + 0.27 * len(names))
    figure, axes = plt.subplots(
        1, len(shown), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[0], shown, strict=True):
        dots(axis, results, panel, names)
        axis.set_xlabel(words["unit"])
    axes[0][0].set_yticks(range(len(names)), [results.peers[peer][0] for peer in names])
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    for label, peer in zip(axes[0][0].get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if results.peers[peer][1] == "ours" else "normal")
    figure.suptitle(words["title"], fontsize=11)
    # One panel is not wide enough for a legend in one row.
    columns = 2 if len(shown) == 1 else 4
    legend(figure, {results.peers[peer][1] for peer in names}, columns)
    save(figure, place, name)
    plt.close(figure)


def values(results: Results, panel: Panel) -> list[float]:
    """Return the figures of all peers that a panel shows."""
    keys = [(panel.scenario, panel.at, panel.setting, peer) for peer in results.peers]
    spreads = [results.spread(panel.figure, key) for key in keys]
    return [end for spread in spreads if spread for end in (spread.low, spread.high)]


def dots(axis: Any, results: Results, panel: Panel, names: Sequence[str]) -> None:
    """Draw one panel."""
    axis.set_title(panel.title)
    known = [value for value in values(results, panel) if value > 0]
    # Room for the numbers at the right, and for the word FAILED.
    low, high = min(known) / 1.5, max(known) * 3
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.grid(axis="x", which="major", color="#dddddd")
    axis.grid(axis="y", color="#eeeeee")
    axis.set_axisbelow(True)
    for row, peer in enumerate(names):
        key: Key = panel.scenario, panel.at, panel.setting, peer
        colour, marker, _ = GROUPS[results.peers[peer][1]]
        spread = results.spread(panel.figure, key)
        if results.failure(key) is not None:
            axis.text(low * 1.1, row, "FAILED", va="center", fontsize=8)
        elif spread is not None and spread.median > 0:
            lowest = max(spread.low, low)
            axis.hlines(row, lowest, spread.high, color=colour, linewidth=2)
            axis.plot(spread.median, row, marker, color=colour, markersize=7)
            digits = ",.3g" if spread.median < 1000 else ",.0f"
            axis.annotate(
                format(spread.median, digits),
                (spread.high, row),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    plain(axis.xaxis)


def plain(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers."""
    ticker = mpl.ticker
    low, high = axis.get_view_interval()
    # Few decades have labels between the powers of ten, too.
    subs = (1.0,) if high / low > 300 else (1.0, 3.0) if high / low > 30 else (1, 2, 5)
    axis.set_major_locator(ticker.LogLocator(subs=subs))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(
        ticker.FuncFormatter(
            lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"
        )
    )


def legend(figure: Any, groups: set[str], columns: int) -> None:
    """Explain the colours."""
    handles = [
        mpl.lines.Line2D([], [], color=colour, marker=marker, label=words)
        for group, (colour, marker, words) in GROUPS.items()
        if group in groups
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False
    )


def grow(plt: Any, results: Results, place: Path, setting: str) -> None:
    """Draw the CPU time of a message by the number of connections."""
    parts = {
        "growth-echo": "echo, all active",
        "growth-few": "echo, one of twenty active",
        "growth-fanout": "fan-out, one in flight",
    }
    shown = [
        name
        for name in parts
        if any(medians(results, name, setting, peer) for peer in results.peers)
    ]
    if not shown:
        return
    figure, axes = plt.subplots(
        1, len(shown), figsize=(1 + 3.7 * len(shown), 4.6), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    drawn: dict[str, Any] = {}
    for axis, name in zip(axes[0], shown, strict=True):
        lines(axis, results, name, setting, drawn)
        axis.set_title(parts[name])
        axis.set_xlabel("members" if name == "growth-fanout" else "connections")
    axes[0][0].set_ylabel("server's CPU µs a message")
    figure.suptitle(f"Growth ({results.settings[setting]})", fontsize=11)
    figure.legend(
        drawn.values(),
        [results.peers[peer][0] for peer in drawn],
        loc="outside lower center",
        ncols=min(4, len(drawn)),
        frameon=False,
    )
    save(figure, place, f"growth-{setting}")
    plt.close(figure)


def medians(results: Results, name: str, setting: str, peer: str) -> dict[int, Spread]:
    """Return the CPU time of a message by the number of connections."""
    found = {
        at: results.spread("cpu_us", (name, at, setting, peer))
        for at in results.sizes(name)
    }
    return {at: spread for at, spread in found.items() if spread is not None}


def lines(
    axis: Any, results: Results, name: str, setting: str, drawn: dict[str, Any]
) -> None:
    """Draw one line for each peer."""
    sizes = results.sizes(name)
    growing = [
        peer
        for peer in results.peers
        if any(key[0].startswith("growth") and key[3] == peer for key in results.runs)
    ]
    axis.set_xscale("log")
    axis.set_yscale("log")
    for index, peer in enumerate(growing):
        known = medians(results, name, setting, peer)
        if not known:
            continue
        colour, marker = LINES[index % len(LINES)]
        ours = results.peers[peer][1] == "ours"
        (drawn[peer],) = axis.plot(
            list(known),
            [spread.median for spread in known.values()],
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=2.4 if ours else 1.3,
        )
        axis.fill_between(
            list(known),
            [spread.low for spread in known.values()],
            [spread.high for spread in known.values()],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    axis.grid(which="major", color="#dddddd")
    axis.set_axisbelow(True)
    plain(axis.yaxis)
    axis.set_xticks(sizes, [f"{at:,}" for at in sizes], rotation=45)
    axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())


def main(source: str, directory: str) -> None:
    """Draw everything."""
    mpl.use("agg")
    import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore]

    plt.rcParams.update(STYLE)
    results, place = load(Path(source)), Path(directory)
    for name, title, unit, figure in PLOTS:
        panels = [
            Panel(title_of, name, 0, setting, figure)
            for setting, title_of in results.settings.items()
        ]
        compare(plt, results, place, name, panels, title=title, unit=unit)
    for setting, title in results.settings.items():
        compare(
            plt,
            results,
            place,
            f"fanout-{setting}",
            [
                Panel(f"{at:,}, {depth} in flight", f"fanout-{depth}", at, setting)
                for at in results.sizes("fanout-1")
                for depth in (1, 16)
            ],
            title=f"Fan-out to so many members ({title})",
            unit="server's CPU µs a delivery",
        )
        grow(plt, results, place, setting)


if __name__ == "__main__":
    main(*sys.argv[1:3])
