from __future__ import annotations

import pytest

from timing import lines


def report(nodeid: str, when: str, duration: float) -> pytest.TestReport:
    return pytest.TestReport(nodeid, ("", 0, ""), {}, "passed", None, when, duration=duration)  # type: ignore[arg-type]


def test_seconds_per_folder_and_tests_that_are_too_slow() -> None:
    reports = [
        report("tests/a/test_x.py::test_one", "setup", 1.0),
        report("tests/a/test_x.py::test_one", "call", 29.5),
        report("tests/a/test_y.py::test_two[1::2]", "call", 2.0),
        report("tests/test_z.py::test_three", "call", 40.25),
    ]
    assert list(lines(reports)) == [
        "   40.2 s  tests",
        "   32.5 s  tests/a",
        "   72.8 s  in all",
        "   40.2 s  is too slow for one test (more than 30 s): tests/test_z.py::test_three",
        "   30.5 s  is too slow for one test (more than 30 s): tests/a/test_x.py::test_one",
    ]
