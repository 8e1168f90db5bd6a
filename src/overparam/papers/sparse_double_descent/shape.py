"""The borders of a curve of test accuracy over falling density: where it turns, where it stops fitting its labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np

from overparam.report.arms import Arm
from overparam.report.noise import Floats
from overparam.report.statistics import Estimate
from overparam.report.turning import LEAST, Span, Turning, crossing, find_crossing, find_turns

FITTED = 0.995
"""Train accuracy above which a network still fits its (noisy) labels."""


@dataclass(frozen=True)
class Turn:
    """A point of a mean curve: level, density in (0, 1] and test accuracy in [0, 1]."""

    level: int
    density: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Shape:
    """Where the mean curve of an arm turns. None means that there is no such point.

    Borders are densities in (0, 1] as estimates over seeds; one that is a level is known to a level, and its interval
    then reaches from the lowest to the highest density that the seeds have there.

    Args:
        dense: the first level (the dense network, when it was measured).
        last: the last level.
        trough: the worst test accuracy before the peak; only where fall and rise are each a point or more.
        peak: the best test accuracy after the trough.
        best: the best test accuracy of all levels.
        borders: by name: ``light_end`` (half of the fall to the trough has happened), ``trough``, ``peak`` (both
            levels), ``sweet_end`` (test accuracy falls below the dense one for good, not before the peak),
            ``collapse`` (it falls a point below the dense one for good) and ``onset`` (train accuracy leaves
            ``threshold`` for good).
        threshold: 99.5 %, or half a point under the best mean train accuracy if that never reaches 99.5 %.
        fitted: best mean train accuracy over all levels; None when it was not measured.
        turning: the fits and draws behind all this; None where the rows have gaps or there is one level.
        chosen_on: the set on whose accuracy all places were found, ``validation`` where there is one; the accuracies
            told are those of the test set.
    """

    dense: Turn
    last: Turn
    trough: Turn | None
    peak: Turn | None
    best: Turn
    borders: dict[str, Estimate]
    threshold: float | None
    fitted: float | None
    turning: Turning | None
    chosen_on: str = "test"

    def density(self, border: str) -> float | None:
        """Return the density of a border by name, None when the curve has none."""
        found = self.borders.get(border)
        return None if found is None else found.mean


def find_shape(arm: Arm, whole: bool = True) -> Shape | None:
    """Find the turning points of an arm's mean curve over seeds; None when no test accuracy was measured.

    Without all rows (``whole`` is False, or a seed lacks a level) only the first and the last level are told.
    """
    tests, densities = arm.table("test_accuracy"), arm.table("density")
    seen = np.isfinite(tests).any(axis=0)
    if not seen.any():
        return None
    chosen_on = arm.chosen_on()
    tests, densities, chosen = tests[:, seen], densities[:, seen], arm.table(f"{chosen_on}_accuracy")[:, seen]
    levels = np.array(arm.places)[seen]
    whole = whole and len(levels) > 1 and bool(np.isfinite(tests).all())
    turning = find_turns(chosen) if whole else None

    def turn(place: int) -> Turn:
        return Turn(int(levels[place]), float(np.nanmean(densities[:, place])), float(np.nanmean(tests[:, place])))

    borders: dict[str, Estimate] = {}
    trough = peak = None
    if turning is not None and all((size.mean or 0.0) >= LEAST for size in turning.sizes[:2]):
        trough, peak = (turn(int(span.at)) for span in turning.turns)
        spans = {"light_end": turning.halfway, "trough": turning.turns[0], "peak": turning.turns[1]}
        borders = {name: _over_seeds(span, densities) for name, span in spans.items()}
    if turning is not None:
        dense = float(chosen[:, 0].mean())
        falls = {"collapse": crossing(turning, dense - LEAST)}
        if trough:
            falls["sweet_end"] = crossing(turning, dense, turning.turns[1].at)
        borders |= {name: _over_seeds(span, densities) for name, span in falls.items() if span is not None}
    threshold, fitted = _fit_of_labels(arm)
    if threshold is not None and whole:
        left = _onset(arm.table("train_accuracy"), threshold)
        if left is not None:
            borders["onset"] = _over_seeds(left, arm.table("density"))
    best = turn(int(np.nanmean(chosen, axis=0).argmax()))
    return Shape(turn(0), turn(-1), trough, peak, best, borders, threshold, fitted, turning, chosen_on)


def _fit_of_labels(arm: Arm) -> tuple[float | None, float | None]:
    """Return the train accuracy that counts as fitting the labels, and the best one over all levels."""
    table = arm.table("train_accuracy")
    if not np.isfinite(table).any():
        return None, None
    seen = np.isfinite(table).any(axis=0)
    best = float(np.nanmean(table[:, seen], axis=0).max())
    return (FITTED if best > FITTED else best - (1 - FITTED)), best


def _onset(table: Floats, threshold: float) -> Span | None:
    return find_crossing(table, threshold) if table.shape[1] > 1 and np.isfinite(table).all() else None


def _over_seeds(span: Span, densities: Floats) -> Estimate:
    """Turn a place in levels into a density, linear in its logarithm between levels."""
    lowest, highest = densities.min(axis=0), densities.max(axis=0)
    # Where all seeds have one density, so has their mean, to the last bit.
    between = (_between(lowest, span.at), _between(highest, span.at))
    mean = min(max(_between(densities.mean(axis=0), span.at), between[0]), between[1])
    if span.low is None or span.high is None:
        return Estimate(mean, None, None, len(densities))
    # Density falls from level to level, so the later end of the span is the lower one.
    low, high = _between(lowest, span.high), _between(highest, span.low)
    seeds, levels = densities.shape
    return Estimate(mean, min(low, mean), max(high, mean), seeds, (seeds - 1) * (levels - 1))


def _between(densities: Floats, place: float) -> float:
    before = int(place)
    if place == before:
        return float(densities[before])
    start, end = log(densities[before]), log(densities[before + 1])
    return exp(start + (place - before) * (end - start))
