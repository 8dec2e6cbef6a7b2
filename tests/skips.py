"""A pytest plugin that makes skipped tests visible: a summary names them.

With CI=true a skipped test of Kafka, of compose or of the chart fails, unless HEADRACE_ALLOW_SKIPS (kafka,compose,helm)
allows it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping

import pytest

VARIABLE = "HEADRACE_ALLOW_SKIPS"
# Marks whose tests must not be skipped under CI, and their names in VARIABLE.
REQUIRED = {"kafka": "kafka", "containers": "compose", "helm": "helm"}
_SUMMARIZED = (*REQUIRED, "recorded", "crds", "prometheus", "browser")


def missing_permission(marks: Iterable[str], environ: Mapping[str, str]) -> str | None:
    """The name that VARIABLE must contain to allow skipping a test with these marks; None if it may be skipped."""
    if environ.get("CI") not in {"true", "1"}:
        return None
    allowed = {each.strip() for each in environ.get(VARIABLE, "").split(",")}
    return next((REQUIRED[mark] for mark in marks if REQUIRED.get(mark, "") not in {"", *allowed}), None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        name = missing_permission((mark.name for mark in item.iter_markers()), os.environ)
        if name is not None:
            report.outcome = "failed"
            report.longrepr = f"{_reason(report)}\nUnder CI this is a failure, unless {VARIABLE} contains {name}."
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    for mark in _SUMMARIZED:
        reasons = [_reason(report) for report in skipped if mark in report.keywords]
        if reasons:
            terminalreporter.section(f"NOT TESTED: {mark}", sep="!", red=True, bold=True)
            for reason in dict.fromkeys(reasons):
                terminalreporter.line(f"{reasons.count(reason)} tests: {reason}", red=True)


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
