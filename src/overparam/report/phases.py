"""The four phases of a pruning curve (light, critical, sweet, collapsed) and the test for a second descent.

Sparse Double Descent (He, Xie, Zhu, Qin, 2022, https://arxiv.org/abs/2206.08684) names the phases; it draws
their borders by eye. Here they are, on the curve of test accuracy over falling density:

======== =============== ==================================================================================
phase    from            to
======== =============== ==================================================================================
light    the dense net   where half of the fall has happened: test accuracy is nearer to dense than to worst
critical there           the trough: the worst test accuracy before the peak
sweet    the trough      the peak: the best test accuracy after the trough
collapsed the peak       the last level
======== =============== ==================================================================================

A curve without a double descent has at most two phases: light, and collapsed from where test accuracy is one
point below the dense one for good. Borders come from the mean curve over seeds; their intervals from the same
borders found on each seed's own curve, as t intervals of the logarithm of density.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log, sqrt

import polars as pl

from overparam.report.arms import Arm, arms, curve
from overparam.report.shape import LEAST, Shape, find_shape
from overparam.report.statistics import Estimate, geometric, paired


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
        shape: turning points of the mean curve.
        by_seed: turning points of each seed's own curve.
        fall: dense - trough, in test accuracy, paired over seeds at the levels chosen on the mean curve.
            Choosing them on the same data flatters fall and rise a little, which is why each must also
            reach ``LEAST``, one point.
        rise: peak - trough, likewise.
        second_fall: peak - last, likewise.
        phases: the phases in order of falling density.
    """

    arm: Arm
    shape: Shape
    by_seed: dict[int, Shape]
    fall: Estimate
    rise: Estimate
    second_fall: Estimate
    phases: tuple[Phase, ...]

    @property
    def verdict(self) -> str:
        """``"yes"``, ``"no"`` or ``"unclear"``: does test accuracy fall, rise and fall again?

        "yes" needs intervals of all three above zero; "no" an interval that leaves no room for a fall or a
        rise of ``LEAST``, or two seeds or more of which none shows a trough. With one seed the answer is
        "unclear".
        """
        if not self.shape.descends_twice:
            shown = any(shape.descends_twice for shape in self.by_seed.values())
            return "no" if len(self.by_seed) > 1 and not shown else "unclear"
        if self.fall.below(LEAST) or self.rise.below(LEAST):
            return "no"
        sizes = (self.fall, self.rise, self.second_fall)
        return "yes" if all(size.above(0) and (size.mean or 0) >= LEAST for size in sizes) else "unclear"

    def over_seeds(self, border: str) -> Estimate:
        """Return the density of a border over seeds: light_end, onset, trough, peak or collapse."""
        return _over_seeds(self.by_seed, border, resolution(self.arm))


def border_of(shape: Shape, border: str) -> float | None:
    """Return the density of a border of a curve by name, None when the curve has none."""
    found = getattr(shape, border)
    return found if found is None or isinstance(found, float) else float(found.density)


def phases(frame: pl.DataFrame) -> list[ArmPhases]:
    """Find the phases of every arm of a results table; arms without any test accuracy are left out.

    Raises :class:`~overparam.errors.DataError` when the table lacks a needed column.
    """
    found = (find_phases(arm) for arm in arms(frame))
    return [one for one in found if one is not None]


def find_phases(arm: Arm) -> ArmPhases | None:
    """Find the phases of one arm; None when no test accuracy was measured."""
    if not arm.has("test_accuracy"):
        return None
    shape = find_shape(curve(arm.mean()))
    if shape is None:
        return None
    each = {seed: find_shape(curve(arm.of_seed(seed))) for seed in arm.seeds}
    by_seed = {seed: one for seed, one in each.items() if one is not None}
    dense, last = (arm.at("test_accuracy", turn.level) for turn in (shape.dense, shape.last))
    trough, peak = (arm.at("test_accuracy", turn.level if turn else None) for turn in (shape.trough, shape.peak))
    return ArmPhases(
        arm=arm,
        shape=shape,
        by_seed=by_seed,
        fall=paired(trough, dense),
        rise=paired(trough, peak),
        second_fall=paired(last, peak),
        phases=_ranges(shape, by_seed, resolution(arm)),
    )


def resolution(arm: Arm) -> float:
    """Return the standard deviation of log density that reading a turning point off the levels leaves.

    It is known to one step of the grid, h in log density, and such rounding spreads it by h / sqrt(12).
    """
    steps = [log(high / low) for high, low in pairwise(arm.mean()["density"].to_list()) if high > low > 0]
    return sorted(steps)[len(steps) // 2] / sqrt(12) if steps else 0.0


def phase_table(found: list[ArmPhases]) -> pl.DataFrame:
    """Return one row per arm and phase: densities of its ends with intervals, and the count of seeds."""
    rows = [
        {
            "arm": one.arm.label,
            "phase": phase.name,
            "density_start": phase.start,
            **_interval("density_start", phase.start_over_seeds),
            "density_end": phase.end,
            **_interval("density_end", phase.end_over_seeds),
            "seeds": len(one.by_seed),
            "double_descent": one.verdict,
        }
        for one in found
        for phase in one.phases
    ]
    text, real = pl.String(), pl.Float64()
    schema: dict[str, pl.DataType] = {"arm": text, "phase": text}
    for end in ("density_start", "density_end"):
        schema |= {end: real, f"{end}_low": real, f"{end}_high": real}
    return pl.DataFrame(rows, schema=schema | {"seeds": pl.Int64(), "double_descent": text}, orient="row")


def _interval(name: str, over_seeds: Estimate | None) -> dict[str, float | None]:
    low, high = (over_seeds.low, over_seeds.high) if over_seeds else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _over_seeds(by_seed: dict[int, Shape], border: str, grid: float) -> Estimate:
    # Trough and peak are levels; the other borders are interpolated between levels.
    spread = grid if border in ("trough", "peak") else 0.0
    found = geometric((border_of(shape, border) for shape in by_seed.values()), resolution=spread)
    return found.map(lambda share: min(share, 1.0))


def _ranges(shape: Shape, by_seed: dict[int, Shape], grid: float) -> tuple[Phase, ...]:
    if shape.trough and shape.peak:
        borders = {"light": "light_end", "critical": "trough", "sweet": "peak", "collapsed": "last"}
    else:
        borders = {"light": "collapse" if shape.collapse else "last", "collapsed": "last"}
    found = []
    start, start_over_seeds = shape.dense.density, None
    for name, border in borders.items():
        end = border_of(shape, border)
        if end is None or end >= start:
            continue
        over_seeds = None if border == "last" else _over_seeds(by_seed, border, grid)
        found.append(Phase(name, start, end, start_over_seeds, over_seeds))
        start, start_over_seeds = end, over_seeds
    return tuple(found)
