"""Means and paired differences over seeds, each with its t interval and its count.

With the three to five seeds of a study the t interval of a mean, or of paired differences, is the honest
tool; a bootstrap of so few values understates their spread, so there is none here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from math import exp, isfinite, sqrt
from typing import TypeVar

import numpy as np
from scipy import stats

from overparam.errors import SpecError
from overparam.report.words import points

K = TypeVar("K", bound=Hashable)

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` seeds and its interval; ``low`` and ``high`` are None for one seed."""

    mean: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None

    def above(self, bound: float) -> bool:
        """Whether the whole interval lies above ``bound``; False without an interval."""
        return self.low is not None and self.low > bound

    def below(self, bound: float) -> bool:
        """Whether the whole interval lies below ``bound``; False without an interval."""
        return self.high is not None and self.high < bound

    def __neg__(self) -> Estimate:
        """Return the estimate of minus the quantity: its ends change places."""
        mean, low, high = (None if value is None else -value for value in (self.mean, self.high, self.low))
        return Estimate(mean, low, high, self.n)

    def map(self, function: Callable[[float], float]) -> Estimate:
        """Apply an increasing function to mean and ends, e.g. :func:`math.exp` to leave a log scale."""
        mean, low, high = (None if value is None else function(value) for value in (self.mean, self.low, self.high))
        return Estimate(mean, low, high, self.n)

    def text(self, form: Callable[[float | None], str] = points) -> str:
        """Return ``mean [low, high]``, or the mean alone without an interval; ``form`` writes each number.

        >>> Estimate(0.058, 0.049, 0.067, 3).text()
        '5.8 [4.9, 6.7]'
        >>> Estimate(0.058, None, None, 1).text()
        '5.8'
        """
        if self.n == 0:
            return "not measured"
        if not self.known:
            return form(self.mean)
        return f"{form(self.mean)} [{form(self.low)}, {form(self.high)}]"


def estimate(values: Iterable[float | None], *, confidence: float = CONFIDENCE, resolution: float = 0.0) -> Estimate:
    """Return the mean of ``values`` with its two-sided t interval (n - 1 degrees of freedom).

    Values that are None or not finite are left out of the mean and of ``n``.

    Args:
        values: one number per seed.
        confidence: coverage of the interval, in (0, 1).
        resolution: smallest standard deviation to assume, in the unit of the values. Numbers read off a grid may
            agree exactly between seeds though none is known better than the grid; the floor keeps such an
            interval from shrinking to a point.

    >>> found = estimate([1.0, 2.0, 3.0])
    >>> found.mean, round(found.low, 3), round(found.high, 3), found.n
    (2.0, -0.484, 4.484, 3)
    """
    if not 0 < confidence < 1:
        raise SpecError(f"confidence must lie between 0 and 1, got {confidence}; the usual value is 0.95")
    found = np.array([value for value in values if value is not None and isfinite(value)], dtype=float)
    if len(found) == 0:
        return Estimate(None, None, None, 0)
    mean = float(found.mean())
    if len(found) == 1:
        return Estimate(mean, None, None, 1)
    spread = max(float(found.std(ddof=1)), resolution)
    half = float(stats.t.ppf((1 + confidence) / 2, len(found) - 1)) * spread / sqrt(len(found))
    return Estimate(mean, mean - half, mean + half, len(found))


def paired(
    before: Mapping[K, float | None],
    after: Mapping[K, float | None],
    *,
    confidence: float = CONFIDENCE,
    resolution: float = 0.0,
) -> Estimate:
    """Return the mean of ``after - before`` over the keys (seeds) that both have, with its paired t interval.

    >>> paired({0: 1.0, 1: 2.0}, {0: 1.5, 1: 2.5, 2: 9.0}).text("{:.1f}".format)
    '0.5 [0.5, 0.5]'
    """
    pairs = [(before[key], value) for key, value in after.items() if key in before]
    differences = [None if old is None or new is None else new - old for old, new in pairs]
    return estimate(differences, confidence=confidence, resolution=resolution)


def geometric(values: Iterable[float | None], *, resolution: float = 0.0) -> Estimate:
    """Return the geometric mean of positive values (densities) with the interval of their logarithms."""
    logs = [np.log(value) if value is not None and value > 0 else None for value in values]
    return estimate(logs, resolution=resolution).map(exp)
