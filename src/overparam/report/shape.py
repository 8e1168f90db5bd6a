"""The shape of one accuracy curve over falling density: where it turns, where it stops fitting its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any

import numpy as np

from overparam.report.arms import Curve

LEAST = 0.01
"""Smallest change of test accuracy that counts as a fall or a rise: one percentage point."""

FITTED = 0.995
"""Train accuracy above which a network still fits its (noisy) labels."""

RECOVERED = 0.2
"""Smallest share of the fall that a rise must win back; less is the scatter of networks breaking down."""


@dataclass(frozen=True)
class Turn:
    """A point of a curve: level, density in (0, 1] and test accuracy in [0, 1]."""

    level: int
    density: float
    accuracy: float


@dataclass(frozen=True)
class Shape:
    """Where one curve turns. Densities lie in (0, 1]; None means that there is no such point.

    Args:
        dense: the first level (the dense network, when it was measured).
        light_end: density at which half of the fall from ``dense`` to ``trough`` has happened, for good.
        onset: density at which train accuracy leaves ``threshold`` for good.
        threshold: 99.5 %, or half a point under the best train accuracy if that never reaches 99.5 %.
        fitted: best train accuracy over all levels; None when it was not measured.
        trough: worst test accuracy before the peak.
        peak: best test accuracy after the trough.
        last: the last level.
        collapse: density at which test accuracy drops ``LEAST`` below ``dense`` for good; only without a trough.
    """

    dense: Turn
    last: Turn
    trough: Turn | None
    peak: Turn | None
    light_end: float | None
    collapse: float | None
    onset: float | None
    threshold: float | None
    fitted: float | None

    @property
    def descends_twice(self) -> bool:
        """Whether the curve falls and then rises by more than scatter."""
        return self.trough is not None


def find_shape(curve: Curve) -> Shape | None:
    """Find the turning points of a curve; None for a curve without points.

    Trough and peak are the pair of levels with the largest rise such that the trough is the worst level up to
    the peak, the peak the best level from the trough on, the fall from dense to trough and the rise to the
    peak are each at least ``LEAST``, and the rise wins back at least ``RECOVERED`` of the fall. A curve
    without such a pair has no double descent.
    """
    if len(curve.level) == 0:
        return None
    pair = turning_pair(curve.test)
    trough, peak = (None, None) if pair is None else (_turn(curve, pair[0]), _turn(curve, pair[1]))
    light_end = collapse = None
    if pair is not None:
        half = (curve.test[0] + curve.test[pair[0]]) / 2
        light_end = last_crossing(curve.density[: pair[0] + 1], curve.test[: pair[0] + 1], float(half))
    elif curve.test[-1] < curve.test[0] - LEAST:
        collapse = last_crossing(curve.density, curve.test, float(curve.test[0]) - LEAST)
    onset, threshold, fitted = _onset(curve)
    return Shape(
        _turn(curve, 0), _turn(curve, -1), trough, peak, light_end, collapse, onset, threshold, fitted
    )  # fmt: skip


def turning_pair(values: Sequence[float] | np.ndarray[Any, Any]) -> tuple[int, int] | None:
    """Return the positions of trough and peak (see :func:`find_shape`), or None.

    >>> turning_pair([0.88, 0.86, 0.82, 0.87, 0.92, 0.90])
    (2, 4)
    >>> turning_pair([0.97, 0.968, 0.971, 0.95, 0.90]) is None
    True
    """
    best: tuple[float, int, int] | None = None
    for low in range(1, len(values)):
        fall = float(values[0] - values[low])
        if fall < LEAST or values[low] > min(values[: low + 1]):
            continue
        high = low + int(np.argmax(values[low:]))
        rise = float(values[high] - values[low])
        worst_before_peak = values[low] <= min(values[low : high + 1])
        if worst_before_peak and rise >= max(LEAST, RECOVERED * fall) and (best is None or rise > best[0]):
            best = (rise, low, high)
    return None if best is None else best[1:]


def largest_climb(values: Sequence[float] | np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return positions i <= j of the largest ``values[j] - values[i]``; ``(0, 0)`` if the values never rise.

    >>> largest_climb([12.98, 11.0, 11.66, 12.51, 12.34, 10.92])
    (1, 3)
    """
    best, lowest = (0, 0), 0
    for position, value in enumerate(values):
        if value < values[lowest]:
            lowest = position
        if value - values[lowest] > values[best[1]] - values[best[0]]:
            best = (lowest, position)
    return best


def last_crossing(
    density: np.ndarray[Any, np.dtype[np.float64]],
    values: np.ndarray[Any, np.dtype[np.float64]],
    bound: float,
) -> float | None:
    """Return the density where ``values`` fall below ``bound`` for the last time, linear in log density.

    None when no value reaches the bound, or when the last one still does.
    """
    reached = np.flatnonzero(values >= bound)
    if len(reached) == 0 or reached[-1] == len(values) - 1:
        return None
    before = int(reached[-1])
    share = (values[before] - bound) / (values[before] - values[before + 1])
    start, end = log(density[before]), log(density[before + 1])
    return exp(start + float(share) * (end - start))


def _onset(curve: Curve) -> tuple[float | None, float | None, float | None]:
    """Return the density where train accuracy leaves its threshold, the threshold, and the best value."""
    measured = np.isfinite(curve.train)
    if not measured.any():
        return None, None, None
    train, density = curve.train[measured], curve.density[measured]
    fitted = float(train.max())
    threshold = FITTED if fitted > FITTED else fitted - (1 - FITTED)
    return last_crossing(density, train, threshold), threshold, fitted


def _turn(curve: Curve, position: int) -> Turn:
    accuracy = float(curve.test[position])
    assert isfinite(accuracy)
    return Turn(int(curve.level[position]), float(curve.density[position]), accuracy)
