"""What tests cost: seconds per folder at the end of a run, and which test is slower than any should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import pytest

SLOWEST = 30.0
"""Seconds that no test should need, on two cores."""


def lines(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Yield a line for each folder, its slowest first, and one for each test that is too slow."""
    folders: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for report in reports:  # of set-up, call and tear-down
        folders[str(PurePosixPath(report.nodeid.partition("::")[0]).parent)] += report.duration
        tests[report.nodeid] += report.duration
    for folder, seconds in folders.most_common():
        yield f"{seconds:7.1f} s  {folder}"
    yield f"{folders.total():7.1f} s  in all"
    for test, seconds in tests.most_common():
        if seconds > SLOWEST:
            yield f"{seconds:7.1f} s  is too slow for one test (more than {SLOWEST:.0f} s): {test}"


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what each folder took, below pytest's list of the slowest tests."""
    reports = [each for kept in terminalreporter.stats.values() for each in kept if isinstance(each, pytest.TestReport)]
    if reports:
        terminalreporter.section("seconds per folder")
        for line in lines(reports):
            terminalreporter.write_line(line)
