"""The four phases of a pruning curve (light, critical, sweet, collapsed) and the test for a second descent.

Sparse Double Descent (He, Xie, Zhu, Qin, 2022, https://arxiv.org/abs/2206.08684) names the phases; it draws
their borders by eye. Here they are, on the curve of test accuracy over falling density:

========= =============== =========================================================================================
phase     from            to
========= =============== =========================================================================================
light     the dense net   where half of the fall has happened: test accuracy is nearer to dense than to the trough
critical  there           the trough: the worst test accuracy before the peak
sweet     the trough      where test accuracy falls below the dense one for good after the peak; the peak, if that is
                          no better than dense
collapsed there           the last level
========= =============== =========================================================================================

Only a curve that falls, rises and falls again has phases, by the test of :mod:`overparam.report.turning`, which
looks at all levels and seeds at once; ``docs/statistics.md`` says how often its answers are right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import log, sqrt

import numpy as np
import polars as pl

from overparam.papers.sparse_double_descent.shape import FITTED, Shape, find_shape
from overparam.report.arms import Arm, arms, gaps, lacking
from overparam.report.statistics import Estimate
from overparam.report.turning import LEAST, SIGNIFICANT, Turning, trend


@dataclass(frozen=True)
class Phase:
    """One phase: densities (0, 1] where it starts (higher) and ends (lower), with intervals over seeds."""

    name: str
    start: float
    end: float
    start_over_seeds: Estimate | None
    end_over_seeds: Estimate | None


@dataclass(frozen=True, eq=False)
class ArmPhases:
    """What is known about the shape of one arm's curve.

    Args:
        arm: the arm.
        shape: borders of the mean curve.
        lacks: how much of the study is there ("14 of 84 rows") while it is not whole, else None.
    """

    arm: Arm
    shape: Shape
    lacks: str | None = None

    @property
    def verdict(self) -> str:
        """Does test accuracy fall, rise and fall again?

        ``"yes"``
            each of the three is seen (p at most 0.05), and fall and rise come to a point or more.
        ``"no"``
            any rise after a fall is bounded below a point (95 %).
        ``"not decided"``
            neither falls, rises and falls, nor has the curve come to rest: it is still falling or rising at the last
            level, and the network can still fit its labels (see :attr:`moving`).
        ``"unclear"``
            the seeds do not tell; always so with one seed.
        ``"incomplete"``
            rows of the study are lacking.
        """
        turning = self.shape.turning
        if self.lacks is not None:
            return "incomplete"
        if turning is None or turning.p_value is None:
            return "unclear"
        bounded = (turning.dip.high or 0.0) < LEAST
        if turning.p_value <= SIGNIFICANT and not bounded and self.shape.trough is not None:
            return "yes"
        if self.moving is not None:
            return "not decided"
        return "no" if bounded else "unclear"

    @property
    def moving(self) -> str | None:
        """``"falling"`` or ``"rising"`` if test accuracy still does so at the last levels, else None.

        It takes a trend over the last sixth of the levels (three at least) that is significant and comes to half a
        point. A fall does not count once the network has collapsed: it no longer fits even the share of its labels
        that is right, or has lost half of its test accuracy.
        """
        if self.shape.turning is None or self.shape.turning.noise is None:
            return None
        change = trend(self.shape.turning.noise)
        if abs(change.mean or 0.0) < LEAST / 2 or not (change.above(0) or change.below(0)):
            return None
        if change.above(0):
            return "rising"
        return None if self._collapsed() else "falling"

    def _collapsed(self) -> bool:
        train = [value for value in self.arm.at("train_accuracy", self.shape.last.level).values() if value is not None]
        right = min(FITTED, 1 - float(self.arm.values.get("noise_rate") or 0.0))
        unfitted = bool(train) and float(np.mean(train)) < right
        return unfitted or self.shape.last.accuracy < self.shape.dense.accuracy / 2

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases in order of falling density; none unless the answer is yes."""
        return _ranges(self.shape) if self.verdict == "yes" else ()

    @property
    def fall(self) -> Estimate:
        """Dense minus trough, in test accuracy."""
        return _size(self.shape.turning, 0)

    @property
    def rise(self) -> Estimate:
        """Peak minus trough, likewise."""
        return _size(self.shape.turning, 1)

    @property
    def second_fall(self) -> Estimate:
        """Peak minus last level, likewise."""
        return _size(self.shape.turning, 2)

    def over_seeds(self, border: str) -> Estimate:
        """Return the density of a border with its interval: light_end, trough, peak, sweet_end, collapse or onset.

        An estimate of nothing (``n`` is 0) stands for a border that the curve has not.
        """
        return self.shape.borders.get(border, Estimate(None, None, None, 0))


def phases(frame: pl.DataFrame, missing: int = 0) -> list[ArmPhases]:
    """Find the phases of every arm of a results table; arms without any test accuracy are left out.

    Args:
        frame: the results table, one row per trained checkpoint.
        missing: rows of the study that are not in the table (``Results.missing``); with any, nothing is decided. Gaps
            that the table itself shows count too (:func:`~overparam.report.arms.lacking`).

    Raises:
        DataError: the table lacks a needed column.
    """
    lacks = lacking(frame, missing)
    found = (find_phases(arm, lacks) for arm in arms(frame))
    return [one for one in found if one is not None]


def find_phases(arm: Arm, lacks: str | None = None) -> ArmPhases | None:
    """Find the phases of one arm of a study that ``lacks`` rows (see :func:`phases`); None without test accuracy."""
    if lacks is None:
        lacks = gaps([arm])
    shape = find_shape(arm, whole=lacks is None)
    return None if shape is None else ArmPhases(arm, shape, lacks)


def resolution(arm: Arm, at: float) -> float:
    """Return how far a border that is a level may lie from the true one in log density, at most, in 95 % of cases.

    It is known to one step of the grid, h in log density; rounding spreads it by h / sqrt(12). The step is the larger
    one beside the density ``at``: levels lie closer together where layers that are not pruned make up most of it.
    """
    pairs = pairwise(arm.mean()["density"].to_list())
    steps = [log(high / low) for high, low in pairs if low > 0 and low < high and low * 0.999 <= at <= high * 1.001]
    return 1.96 * max(steps) / sqrt(12) if steps else 0.0


def phase_table(found: list[ArmPhases]) -> pl.DataFrame:
    """Return one row per arm and phase: densities of its ends with intervals, and the count of seeds.

    An arm without phases has one row, whose ``phase`` and densities are null: ``double_descent`` says why.
    """
    rows = [
        {
            "arm": one.arm.label,
            **(_phase_cells(phase) if phase else {}),
            "seeds": len(one.arm.seeds),
            "double_descent": one.verdict,
            "lacks": one.lacks,
        }
        for one in found
        for phase in one.phases or (None,)
    ]
    text, real = pl.String(), pl.Float64()
    schema: dict[str, pl.DataType] = {"arm": text, "phase": text}
    for end in ("density_start", "density_end"):
        schema |= {end: real, f"{end}_low": real, f"{end}_high": real}
    schema |= {"seeds": pl.Int64(), "double_descent": text, "lacks": text}
    return pl.DataFrame([[row.get(name) for name in schema] for row in rows], schema=schema, orient="row")


def _phase_cells(phase: Phase) -> dict[str, object]:
    cells: dict[str, object] = {"phase": phase.name, "density_start": phase.start, "density_end": phase.end}
    for name, over in (("density_start", phase.start_over_seeds), ("density_end", phase.end_over_seeds)):
        cells |= {f"{name}_low": over and over.low, f"{name}_high": over and over.high}
    return cells


def _size(turning: Turning | None, piece: int) -> Estimate:
    if turning is None:
        return Estimate(None, None, None, 0)
    found = turning.sizes[piece]
    return replace(found, high=None if found.high is None else min(found.high, 1.0))


def _ranges(shape: Shape) -> tuple[Phase, ...]:
    found, start, start_over_seeds = [], shape.dense.density, None
    ends = {"light": "light_end", "critical": "trough", "sweet": "sweet_end", "collapsed": None}
    for name, border in ends.items():
        over_seeds = shape.borders.get(border) if border else None
        end = over_seeds.mean if over_seeds and over_seeds.mean is not None else shape.last.density
        if end < start:
            found.append(Phase(name, start, end, start_over_seeds, over_seeds))
        start, start_over_seeds = end, over_seeds
    return tuple(found)
