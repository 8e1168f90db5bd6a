"""The four phases of a pruning curve (light, critical, sweet, collapsed) and the test for a second descent.

Sparse Double Descent (He, Xie, Zhu, Qin, 2022, https://arxiv.org/abs/2206.08684) names the phases; it draws their borders by
eye. Here they are, on the curve of test accuracy over falling density:

======== =============== ==================================================================================
phase    from            to
======== =============== ==================================================================================
light    the dense net   where half of the fall has happened: test accuracy is nearer to dense than to worst
critical there           the trough: the worst test accuracy before the peak
sweet    the trough      the peak: the best test accuracy after the trough
collapsed the peak       the last level
======== =============== ==================================================================================

A curve without a double descent has at most two phases: light, and collapsed from where test accuracy is one point below the
dense one for good. Borders come from the mean curve over seeds; their intervals from the same borders found on each seed's
own curve, as t intervals of the logarithm of density.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log, sqrt

import polars as pl

from overparam.report.arms import Arm, arms, curve
from overparam.report.shape import LEAST, Shape, find_shape
from overparam.report.statistics import Estimate, geometric, paired
from overparam.report.words import count, density, listing, percent

INTERPOLATES = 0.99


@dataclass(frozen=True)
class Phase:
    """One phase of an arm: densities (0, 1] where it starts (higher) and ends (lower), with intervals over seeds."""

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
        fall: dense - trough; rise: peak - trough; second_fall: peak - last. Test accuracy, paired over seeds at the
            levels chosen on the mean curve, with t intervals. Choosing the levels on the same data flatters fall and
            rise a little, which is why each must also reach ``LEAST``, one point.
        phases: the phases in order of falling density.
        notes: sentences on what a reader must know, e.g. that the dense network does not fit its labels.
    """

    arm: Arm
    shape: Shape
    by_seed: dict[int, Shape]
    fall: Estimate
    rise: Estimate
    second_fall: Estimate
    phases: tuple[Phase, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """``"yes"``, ``"no"`` or ``"unclear"``: does test accuracy fall, rise and fall again?

        "yes" needs intervals of all three above zero; "no" an interval that leaves no room for a fall or a rise of
        ``LEAST``, or two seeds or more of which none shows a trough. With one seed the answer is "unclear".
        """
        if not self.shape.descends_twice:
            shown = any(shape.descends_twice for shape in self.by_seed.values())
            return "no" if len(self.by_seed) > 1 and not shown else "unclear"
        if self.fall.below(LEAST) or self.rise.below(LEAST):
            return "no"
        real = self.fall.above(0) and self.rise.above(0)
        return (
            "yes"
            if real and self.second_fall.above(0) and (self.second_fall.mean or 0) >= LEAST
            else "unclear"
        )

    @property
    def sentence(self) -> str:
        """The finding in one sentence with its numbers."""
        return finding(self)

    def over_seeds(self, border: str) -> Estimate:
        """Return the interval over seeds of a border: ``light_end``, ``onset``, ``trough``, ``peak``, ``collapse``."""
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
    trough, peak = (arm.at("test_accuracy", turn and turn.level) for turn in (shape.trough, shape.peak))
    return ArmPhases(
        arm=arm,
        shape=shape,
        by_seed=by_seed,
        fall=paired(trough, dense),
        rise=paired(trough, peak),
        second_fall=paired(last, peak),
        phases=_ranges(shape, by_seed, resolution(arm)),
        notes=_notes(arm, shape, by_seed),
    )


def resolution(arm: Arm) -> float:
    """Return the standard deviation that reading a turning point off this arm's grid of levels leaves in log density.

    It is known to one step of the grid, h in log density, and such rounding spreads it by h / sqrt(12).
    """
    steps = [log(high / low) for high, low in pairwise(arm.mean()["density"].to_list()) if high > low > 0]
    return sorted(steps)[len(steps) // 2] / sqrt(12) if steps else 0.0


def phase_table(found: list[ArmPhases]) -> pl.DataFrame:
    """Return one row per arm and phase: densities of start and end with their intervals, and the count of seeds."""
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
    schema = {"arm": text, "phase": text}
    for end in ("density_start", "density_end"):
        schema |= {end: real, f"{end}_low": real, f"{end}_high": real}
    return pl.DataFrame(rows, schema=schema | {"seeds": pl.Int64(), "double_descent": text}, orient="row")


def _interval(name: str, over_seeds: Estimate | None) -> dict[str, float | None]:
    low, high = (over_seeds.low, over_seeds.high) if over_seeds else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _over_seeds(by_seed: dict[int, Shape], border: str, grid: float) -> Estimate:
    # Trough and peak are levels; the other borders are interpolated between levels.
    spread = grid if border in ("trough", "peak") else 0.0
    return geometric((border_of(shape, border) for shape in by_seed.values()), resolution=spread)


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


def _notes(arm: Arm, shape: Shape, by_seed: dict[int, Shape]) -> tuple[str, ...]:
    notes = []
    if shape.dense.level > 0:
        notes.append(
            f"The dense network was not measured; level {shape.dense.level} ({density(shape.dense.density)} density) "
            "stands in for it."
        )
    fits = arm.at("train_accuracy", shape.dense.level)
    known = [value for value in fits.values() if value is not None]
    if known and sum(known) / len(known) < INTERPOLATES:
        notes.append(
            f"The dense network fits only {percent(sum(known) / len(known))} of its training labels; the first fall "
            "shows best when it fits all of them (train longer)."
        )
    elif not known:
        notes.append("Train accuracy was not measured, so the onset of its decline is unknown.")
    if shape.peak and shape.peak.level == shape.last.level:
        notes.append("Test accuracy still rises at the last level: prune further to see the collapse.")
    short = [seed for seed in arm.seeds if seed not in by_seed or by_seed[seed].last.level < max(arm.levels)]
    if short:
        notes.append(
            f"Of {count(len(arm.seeds), 'seed')}, {listing([str(seed) for seed in short])} did not reach the last level."
        )
    return tuple(notes)


def finding(found: ArmPhases) -> str:
    """Say in one plain sentence what the mean test accuracy does as density drops."""
    shape = found.shape
    dense, last = shape.dense, shape.last
    named = "dense" if dense.level == 0 else f"at {density(dense.density)} density"
    if shape.trough and shape.peak:
        ends = {"yes": "sparse double descent", "no": "a rise too small to call a double descent"}.get(
            found.verdict,
            "a sparse double descent" if found.fall.n == 1 else "the shape of a sparse double descent",
        )
        if found.fall.n == 1:
            ends += " on one seed, so without an interval"
        elif found.verdict == "unclear":
            ends += f", not certain with {count(found.fall.n, 'seed')}"
        return (
            f"Test accuracy falls from {percent(dense.accuracy)} ({named}) to {percent(shape.trough.accuracy)} at "
            f"{density(shape.trough.density)} density, then rises to {percent(shape.peak.accuracy)} at "
            f"{density(shape.peak.density)}: {ends}."
        )
    if last.level == dense.level:
        return f"Test accuracy is {percent(dense.accuracy)} ({named}); no pruned network was measured."
    if shape.collapse is None:
        return (
            f"Test accuracy goes from {percent(dense.accuracy)} ({named}) to {percent(last.accuracy)} at "
            f"{density(last.density)} density without falling and rising again: no double descent."
        )
    return (
        f"Test accuracy stays near {percent(dense.accuracy)} ({named}) down to {density(shape.collapse)} density, then "
        f"falls to {percent(last.accuracy)} at {density(last.density)}: no double descent."
    )
