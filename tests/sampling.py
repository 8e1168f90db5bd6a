"""Suites with very many cases: ``make test`` runs a fixed tenth of them, ``make test-all`` every one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

WHOLE = os.environ.get("OVERPARAM_TESTS") == "all"
"""Whether every case is run."""


def sampled(cases: Sequence[T]) -> list[T]:
    """Return every case, or every tenth; mark the tests that use it with ``pytest.mark.sampled``."""
    return list(cases) if WHOLE else list(cases[::10])


def rounds(number: int) -> int:
    """Return how often to repeat something drawn at random: ``number`` times, or a tenth of that (at least once)."""
    return number if WHOLE else max(1, number // 10)
