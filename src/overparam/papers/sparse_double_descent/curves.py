"""What the claims about one curve measure: the double descent, the fall while fitting, the distance peak."""

from __future__ import annotations

import numpy as np
import polars as pl

from overparam.papers.sparse_double_descent.finding import INTERPOLATES
from overparam.papers.sparse_double_descent.phases import ArmPhases
from overparam.papers.sparse_double_descent.shape import FITTED
from overparam.report.claims import Finding, Number, Outcome, judge, judged, together, with_seeds_needed
from overparam.report.statistics import CONFIDENCE, Estimate, difference, t_quantile
from overparam.report.turning import LEAST, Span, find_turns
from overparam.report.words import density, number, percent, seeds

NEAR = 2.5
"""Levels that still count as "within two levels": an interval of levels may end between them."""

ROUNDING = 1.96 / 12**0.5
"""Levels that rounding to a level may hide, in 95 % of cases."""

CLIMB = 0.01
"""Smallest climb of the learning distance, as a share of its largest mean, that makes a peak."""


def double_descent(one: ArmPhases) -> Finding:
    """Judge "falls, rises, falls" on one arm by its verdict; a curve that still moves says only "prune further"."""
    shape, numbers, turning = one.shape, turns(one), one.shape.turning
    outcomes: dict[str, Outcome] = {"yes": "supported", "no": "contradicted"}
    outcome = outcomes.get(one.verdict, "inconclusive")
    if turning is not None:
        numbers |= {"p_value": turning.p_value, "largest_rise_after_a_fall_points": _points(turning.dip.high)}
    sizes = {"fall": one.fall, "rise": one.rise, "second_fall": one.second_fall}
    numbers |= {
        name: value for size, found in sizes.items() for name, value in interval(f"{size}_points", found, 100).items()
    }
    if shape.trough is None or shape.peak is None:
        text = "no fall and rise of a point or more on the mean curve"
        bound = None if turning is None else turning.dip.high
        if bound is not None:
            text += f"; any rise after a fall is below {100 * bound:.1f} points"
    else:
        text = (
            f"falls by {one.fall.text()} points to the worst before the best at {density(shape.trough.density)} "
            f"density, rises by {one.rise.text()} to the best at {density(shape.peak.density)}"
        )
        if shape.peak.level == shape.last.level:
            text += ", and is still at its best at the last level, so the second fall was not reached"
        else:
            text += f", falls again by {one.second_fall.text()} down to {density(shape.last.density)}"
    if one.verdict == "not decided":
        text += f"; not decided: still {one.moving} at {density(shape.last.density)}, prune further"
    found = Finding(outcome, f"{text} ({seeds(len(one.arm.seeds))})", numbers)
    moves = one.verdict == "not decided"  # which more seeds would not end
    return found if moves else with_seeds_needed(found, *_open_parts(one))


def _open_parts(one: ArmPhases) -> list[tuple[Estimate, float]]:
    """Return what more seeds have to tell: that what the curve goes back stays below a point, or that each piece is."""
    dip = one.shape.turning.dip if one.shape.turning else None
    if dip is None or dip.mean is None or dip.high is None or dip.mean >= LEAST:
        return [(one.fall, LEAST), (one.rise, LEAST), (one.second_fall, 0.0)]
    room = LEAST - dip.mean
    half = dip.high - dip.mean
    return [(Estimate(room, room - half, room + half, dip.n, dip.degrees), 0.0)]


def falls_while_still_fitting(one: ArmPhases) -> Finding:
    """Judge the fall at the last level, up to the worst one, where train accuracy is over the threshold."""
    shape, mean, numbers = one.shape, one.arm.mean(), turns(one)
    fitted, threshold = shape.fitted or 0.0, shape.threshold or FITTED
    numbers |= {"best_train_accuracy": fitted, "train_threshold": threshold}
    if fitted < INTERPOLATES:
        text = f"the network fits at best {percent(fitted)} of its noisy labels, never all: train longer"
        return Finding("inconclusive", text, numbers)
    fitting = mean.filter(pl.col("train_accuracy") > threshold)
    if shape.trough:
        fitting = fitting.filter(pl.col("level") <= shape.trough.level)
    if fitting.is_empty() or fitting["level"][-1] == shape.dense.level:
        text = "train accuracy leaves 100 % at the first pruning, so there is no level to look at: train longer"
        return Finding("inconclusive", text, numbers)
    level, at, train = (fitting[name][-1] for name in ("level", "density", "train_accuracy"))
    fall = fall_to(one, level)
    numbers |= {"density": at, "train_accuracy": train, **interval("fall_points", fall, 100)}
    text = (
        f"test accuracy is down by {fall.text()} points at {density(at)} density, where train accuracy is "
        f"still {percent(train)}"
    )
    if shape.trough and one.fall.mean and fall.mean is not None:
        share = fall.mean / one.fall.mean
        numbers |= {"share_of_the_fall": share, "levels_from_onset_to_worst": shape.trough.level - level - 1}
        text += f", {percent(share, 0)} of the whole fall"
    return judged(fall, f"{text} ({seeds(fall.n)})", numbers, at_least=LEAST)


def fall_to(one: ArmPhases, level: int) -> Estimate:
    """Return test accuracy at the first level minus that at ``level``, with a t interval of the pooled noise."""
    table, place = one.arm.table("test_accuracy"), one.arm.places.index(level)
    fall = float(table[:, 0].mean() - table[:, place].mean())
    noise = one.shape.turning.noise if one.shape.turning else None
    if noise is None:
        return Estimate(fall, None, None, len(table))
    half = t_quantile((1 + CONFIDENCE) / 2, noise.degrees) * noise.error(0, place)
    return Estimate(fall, fall - half, fall + half, len(table), noise.degrees)


def distance_against_worst(one: ArmPhases, column: str = "learning_distance") -> Finding:
    """Judge whether the peak of a distance column lies within two levels of the worst test accuracy."""
    numbers, shape = turns(one), one.shape
    if shape.trough is None or shape.turning is None:
        return Finding("inconclusive", "test accuracy has no worst point followed by a rise", numbers)
    peak, climb = distance_peak(one, column)
    numbers |= {"worst_test_level": shape.trough.level, **interval("climb_share", climb)}
    if peak is None:
        text = f"the learning distance has no peak: it climbs by {climb.text()} % of its largest ({seeds(climb.n)})"
        return Finding("contradicted" if climb.below(CLIMB) else "inconclusive", text, numbers)
    worst = _levels(shape.turning.turns[0], one)
    gap = difference(worst, peak, at_least=ROUNDING)
    numbers |= {"distance_peak_level": int(peak.mean or 0), **interval("levels_apart", gap)}
    ended = peak.mean == one.shape.last.level
    peaks = "still climbs at the last level" if ended else f"peaks at level {peak.mean:.0f}"
    text = (
        f"the distance {peaks}, test accuracy is worst at level {shape.trough.level}; levels "
        f"from worst to peak: {gap.text(lambda value: number(value, 1))} ({seeds(gap.n)})"
    )
    within = [apart.map(lambda levels: levels + NEAR) for apart in (gap, -gap)]
    found = Finding(together(judge(each) for each in within), text, numbers)
    return with_seeds_needed(found, *((each, 0.0) for each in within))


def distance_peak(one: ArmPhases, column: str = "learning_distance") -> tuple[Estimate | None, Estimate]:
    """Return the level at which a distance column peaks, and the climb to it as a share of the largest mean.

    The distance may fall from the dense network's (which has the most weights to move), climbs to its peak and falls
    again: the same three pieces, fitted to all levels, as test accuracy has. There is no peak (None) where the climb is
    below ``CLIMB``, or where seeds lack levels.
    """
    table = one.arm.table(column)
    if table.shape[1] < 2 or not np.isfinite(table).all():
        return None, Estimate(None, None, None, 0)
    found = find_turns(table)
    largest = float(table.mean(axis=0).max())
    climb = found.sizes[1].map(lambda size: size / largest)
    return (None if (climb.mean or 0.0) < CLIMB else _levels(found.turns[1], one)), climb


def turns(one: ArmPhases) -> dict[str, Number]:
    """Return the numbers every finding states: seeds, dense accuracy, worst and best with their densities."""
    shape = one.shape
    numbers: dict[str, Number] = {"seeds": len(one.arm.seeds), "dense_test_accuracy": shape.dense.accuracy}
    for name, turn in (("worst", shape.trough), ("best", shape.peak)):
        numbers[f"{name}_test_accuracy"] = turn.accuracy if turn else None
        numbers[f"{name}_density"] = turn.density if turn else None
    return numbers


def interval(name: str, found: Estimate, scale: float = 1.0) -> dict[str, Number]:
    """Return an estimate as numbers: ``name``, ``_low`` and ``_high`` (times ``scale``), ``_seeds``."""
    ends = {"": found.mean, "_low": found.low, "_high": found.high}
    numbers: dict[str, Number] = {f"{name}{end}": None if v is None else v * scale for end, v in ends.items()}
    return {**numbers, f"{name}_seeds": found.n}


def _levels(span: Span, one: ArmPhases) -> Estimate:
    """Return a turn, a place among the levels of an arm, as a level."""
    levels = one.arm.places
    low, high = (None if end is None else float(levels[int(end)]) for end in (span.low, span.high))
    seeds = len(one.arm.seeds)
    return Estimate(float(levels[int(span.at)]), low, high, seeds, (seeds - 1) * (len(levels) - 1))


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share
