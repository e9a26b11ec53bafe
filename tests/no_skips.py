"""Makes a skipped test a failure, for CI: ``pytest -p tests.no_skips``.

There everything that a test may need is installed, so that a skip means that something
is not tested any more and nobody has noticed.
"""

from __future__ import annotations

import pytest

#: Node ids (or beginnings of them) of tests that CI may skip, each with its reason.
ALLOWED: dict[str, str] = {}


def _complain(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        if any(report.nodeid.startswith(start) for start in ALLOWED):
            return
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, in CI: {report.longrepr}"


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(item, call):
    report = yield
    _complain(report)
    return report


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_make_collect_report(collector):
    report = yield
    _complain(report)
    return report
