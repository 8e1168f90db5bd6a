"""Means over seeds and differences of estimates, each with its interval and its count.

These are for numbers that stand alone. What a whole curve does is told by all its levels together
(:mod:`overparam.report.turning`), which know the noise better than the few seeds of one level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from math import hypot, isfinite, sqrt

import numpy as np
import numpy.typing as npt

from overparam.errors import SpecError
from overparam.report.words import points

CONFIDENCE = 0.95

FEW = 4
"""Seeds from which on the mean of a level is shown with an interval."""

MOST_SEEDS = 1000
"""Most seeds that are told to be needed: a difference that takes more is none."""


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` seeds and its interval; ``low`` and ``high`` are None for one seed.

    ``degrees`` are the degrees of freedom behind the interval where the noise of several places was taken together;
    None: ``n - 1``.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    degrees: int | None = None

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
        return replace(self, mean=mean, low=low, high=high)

    def map(self, function: Callable[[float], float]) -> Estimate:
        """Apply an increasing function to mean and ends, e.g. :func:`math.exp` to leave a log scale."""
        mean, low, high = (None if value is None else function(value) for value in (self.mean, self.low, self.high))
        return replace(self, mean=mean, low=low, high=high)

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


@cache
def t_quantile(share: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution below which ``share`` of it lies."""
    from scipy.special import stdtrit  # here, since whoever names an axis need not wait for it

    return float(stdtrit(degrees, share))


def estimate(values: Iterable[float | None], *, confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of ``values`` with its two-sided t interval (n - 1 degrees of freedom).

    Values that are None or not finite are left out of the mean and of ``n``.

    Args:
        values: one number per seed.
        confidence: coverage of the interval, in (0, 1).

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
    half = t_quantile((1 + confidence) / 2, len(found) - 1) * float(found.std(ddof=1)) / sqrt(len(found))
    return Estimate(mean, mean - half, mean + half, len(found))


def spread(values: Iterable[float | None], *, share: bool = False) -> Estimate:
    """Return the mean of ``values`` with what tables and charts show around it.

    That is the 95 % interval of the mean from :data:`FEW` seeds on, and the range from the lowest to the highest seed
    below that, where an interval would be many times as wide as what was seen. Ends of a ``share`` stay in [0, 1].

    >>> spread([0.2, 0.6], share=True).text()
    '40.0 [20.0, 60.0]'
    """
    found = [value for value in values if value is not None and isfinite(value)]
    over = estimate(found)
    if 1 < len(found) < FEW:
        return Estimate(over.mean, min(found), max(found), over.n)
    if not share or over.low is None or over.high is None:
        return over
    return Estimate(over.mean, max(over.low, 0.0), min(over.high, 1.0), over.n)


def spread_is(seeds: int) -> str:
    """Say what :func:`spread` shows with so many seeds."""
    if seeds < 2:
        return "one seed, so no range"
    return "the 95 % interval of the mean" if seeds >= FEW else f"the range of the {seeds} seeds (intervals need {FEW})"


def difference(first: Estimate, second: Estimate, *, at_least: float = 0.0) -> Estimate:
    """Return ``second - first`` of two estimates from separate seeds, by recovering variances from their intervals.

    Each side of the interval takes the sides of both that lie that way (Zou and Donner, 2008, *Statistics in Medicine*
    27), so lopsided intervals stay so.

    Args:
        first: what is taken away.
        second: what it is taken from.
        at_least: smallest distance of an end from its mean to assume in both, in their unit: what is read off a grid is
            not known better than the grid, even if its interval is a point.

    >>> difference(Estimate(1.0, 0.7, 1.1, 3), Estimate(3.0, 2.6, 3.3, 3)).text("{:.1f}".format)
    '2.0 [1.6, 2.4]'
    """
    if first.mean is None or second.mean is None:
        return Estimate(None, None, None, 0)
    mean, seeds = second.mean - first.mean, min(first.n, second.n)
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(mean, None, None, seeds)
    below = hypot(max(second.mean - second.low, at_least), max(first.high - first.mean, at_least))
    above = hypot(max(second.high - second.mean, at_least), max(first.mean - first.low, at_least))
    degrees = sum(each.n - 1 if each.degrees is None else each.degrees for each in (first, second))
    return Estimate(mean, mean - below, mean + above, seeds, degrees)


def seeds_needed(found: Estimate, apart: float) -> int | None:
    """Return how many seeds make the interval shorter than ``apart`` on either side, if their spread stays as it is.

    Half of it shrinks as ``t / sqrt(n)``, with the degrees of freedom that more seeds bring.

    Args:
        found: an estimate with an interval, over ``n`` seeds.
        apart: the distance from the mean to the bound that decides, > 0.

    Returns:
        None without an interval, or if even :data:`MOST_SEEDS` would not do.

    >>> seeds_needed(estimate([-1.0, 0.0, 4.0]), 1.0)
    30
    """
    if found.mean is None or found.low is None or found.high is None or found.n < 2:
        return None
    half = max(found.mean - found.low, found.high - found.mean)
    a_seed = (found.n - 1 if found.degrees is None else found.degrees) / (found.n - 1)
    counts = np.arange(2, MOST_SEEDS + 1)
    shorter = half * _scale(counts, a_seed) / _scale(np.array([found.n]), a_seed) < apart
    return int(counts[shorter.argmax()]) if shorter.any() else None


def _scale(counts: npt.NDArray[np.int64], a_seed: float) -> npt.NDArray[np.float64]:
    """Return half the interval of so many seeds, in standard deviations, with degrees of freedom that each brings."""
    from scipy.special import stdtrit

    degrees = np.maximum(1, np.round(a_seed * (counts - 1)))
    return np.asarray(stdtrit(degrees, (1 + CONFIDENCE) / 2) / np.sqrt(counts))
