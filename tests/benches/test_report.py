"""benches/runner/report.py: tables, ratios that are marked, runs that failed."""

from __future__ import annotations

from runner import report
from runner.results import Results, Run, Spread


def made() -> Results:
    return Results(
        command="make bench ROUNDS=2",
        whole=True,
        machine={"kernel": "Linux 6"},
        settings={"one": "one core", "all": "all cores"},
        peers={
            "ours": ("dwebsocket-rs", "ours"),
            "picows": ("picows", "python"),
            "broken": ("Broken", "rust"),
        },
    )


def add(found: Results, peer: str, *costs: float, at: int = 0, name: str = "") -> None:
    for number, cost in enumerate(costs):
        figures = {"cpu_us": cost, "rate": 1e6 / cost, "others": 0.25}
        found.add(Run(name or "echo-32", at, "one", peer, number, figures))


def row(text: str, server: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {server} |")]
    return found


def test_the_first_line_names_the_command() -> None:
    text = report.markdown(made())
    assert text.splitlines()[0].startswith("<!-- Made by `make bench ROUNDS=2`")


def test_a_row_has_medians_spreads_and_marked_ratios() -> None:
    found = made()
    add(found, "ours", 20, 22)
    add(found, "picows", 10, 11)
    text = report.markdown(found)
    assert row(text, "**dwebsocket-rs**").startswith(
        "| **dwebsocket-rs** | 21.0 (20.0–22.0) | 1 | 47,727 (45,455–50,000) | 1 |"
    )
    # Half the CPU time, twice the messages: ahead in both.
    assert "| 10.5 (10.0–11.0) | **0.50** |" in row(text, "picows")
    assert "| **2.00** |" in row(text, "picows")
    assert "Other work took 0.25 processors" in text


def test_a_peer_that_is_behind_is_not_marked() -> None:
    found = made()
    add(found, "ours", 10)
    add(found, "picows", 40)
    assert "| 40.0 | 4.00 |" in row(report.markdown(found), "picows")
    assert "**0.25**" not in report.markdown(found)


def test_a_failed_run_is_shown_as_failed_with_its_reason() -> None:
    found = made()
    add(found, "ours", 20, 22)
    add(found, "picows", 10)
    lost = "the server lost 3, doubled 0, changed 0 messages"
    found.add(Run("echo-32", 0, "one", "picows", 1, failure=lost))
    text = report.markdown(found)
    table, _, failed = text.partition("## Failed")
    assert row(table, "picows").startswith("| picows | FAILED | – | FAILED |")
    assert f"| picows | echo-32 | one, 1 of 2 | {lost} |" in failed


def test_when_every_run_failed_the_table_is_still_there() -> None:
    found = made()
    found.add(Run("echo-32", 0, "one", "picows", 0, failure="it hung"))
    assert "| picows | FAILED |" in report.markdown(found)


def test_a_peer_that_cannot_be_built_is_told() -> None:
    found = made()
    add(found, "ours", 20)
    found.unavailable["broken"] = "pip cannot install it:\nno | wheel"
    text = report.markdown(found)
    assert "| Broken | everything |  | pip cannot install it: no \\| wheel |" in text


def test_without_this_package_there_are_no_ratios() -> None:
    found = made()
    add(found, "picows", 10)
    assert row(report.markdown(found), "picows").startswith("| picows | 10.0 | – |")


def test_growth_has_a_factor_from_100_connections_on() -> None:
    found = made()
    for at, cost in ((1, 9.0), (100, 4.0), (1000, 6.0)):
        add(found, "ours", cost, at=at, name="growth-echo")
    found.add(Run("growth-echo", 5000, "one", "ours", 0, failure="it hung"))
    text = report.markdown(found)
    cells = "| 9.00 | 4.00 | 6.00 | FAILED | 1.50 at 1,000 |"
    assert row(text, "**dwebsocket-rs**").endswith(cells)


def test_figures_have_about_three_digits() -> None:
    told = [report.number(value) for value in (0.0123, 1.234, 12.34, 123.4, 1234567.0)]
    assert told == ["0.012", "1.23", "12.3", "123", "1,234,567"]
    assert report.told(Spread(2, 2, 2)) == "2.00"


def test_versions_are_listed_without_the_dull_ones() -> None:
    found = made()
    found.versions["ours"] = {"CPython": "3.11.7", "pip": "24", "Django": "5.2"}
    text = report.markdown(found)
    assert "| dwebsocket-rs | CPython 3.11.7, Django 5.2 |" in text


def test_a_plot_of_one_setting_is_shown_with_its_table() -> None:
    found = made()
    for setting in ("one", "all"):
        found.add(Run("fanout-1", 1000, setting, "ours", 0, {"cpu_us": 5.0}))
    found.add(Run("fanout-1", 5000, "one", "ours", 0, {"cpu_us": 5.0}))
    lines = report.markdown(found).splitlines()
    plots = [line for line in lines if "images/bench" in line]
    assert [line.partition("(")[2].partition(")")[0] for line in plots] == [
        "images/bench/fanout-one.png",
        "images/bench/fanout-all.png",
    ]


def test_a_scenario_without_figures_has_no_plot() -> None:
    found = made()
    found.add(Run("echo-32", 0, "one", "picows", 0, failure="it hung"))
    assert "images/bench" not in report.markdown(found)
