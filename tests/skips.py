"""What was skipped and why, at the end of a run; with OVERPARAM_SKIPS=listed, one that is not in the list fails it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

ALLOWED = {
    r"no CUDA card here: .*": "no machine of the continuous integration has one; run by hand where there is one",
    r"there is a card here, so nothing is refused; .*": "then the tests that need a card run in its place",
    r".* is not on this machine; name its folder in OVERPARAM_DATA": "datasets are not downloaded by tests",
    r"no chromium on this machine .*": "not every machine of the continuous integration may install one",
    r"decodes 60,000 images in half a minute; .*": "takes too long for each run",
}
"""Reasons for which a test may be skipped in continuous integration, each with why that is right."""


def unlisted(reasons: Iterable[str]) -> list[str]:
    """Return the reasons that no line of :data:`ALLOWED` fits, each once."""
    return [why for why in dict.fromkeys(reasons) if not any(re.fullmatch(known, why, re.S) for known in ALLOWED)]


def lines(reasons: Iterable[str]) -> Iterator[str]:
    """Yield a line for each reason: how many tests, which, and whether it is in the list."""
    counts = Counter(reasons)
    strange = unlisted(counts)
    for why, count in counts.most_common():
        yield f"{count:4}  {why}{'  (not in the list of tests/skips.py)' if why in strange else ''}"


def _reasons(reporter: pytest.TerminalReporter) -> list[str]:
    told = [report.longrepr for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    return [str(why).removeprefix("Skipped: ") for _, _, why in told]


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped."""
    if reasons := _reasons(terminalreporter):
        terminalreporter.section("skipped")
        for line in lines(reasons):
            terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for a skip that is not in the list, where that was asked for."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    strict = os.environ.get("OVERPARAM_SKIPS") == "listed"
    if strict and reporter and unlisted(_reasons(reporter)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
