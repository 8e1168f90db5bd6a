"""What the claims about one curve measure: the double descent, the fall while fitting, the distance peak."""

from __future__ import annotations

import polars as pl

from overparam.report.claims import Finding, Number, judge, together
from overparam.report.finding import INTERPOLATES
from overparam.report.phases import ArmPhases
from overparam.report.shape import FITTED, LEAST, largest_climb
from overparam.report.statistics import Estimate, estimate, paired
from overparam.report.words import count, density, number, percent, seeds

NEAR = 2.5
"""Levels that still count as "within two levels": levels are whole numbers, a mean over seeds is not."""

ROUNDING = 6**-0.5
"""Standard deviation of the difference of two levels, each rounded to a whole number."""

CLIMB = 0.01
"""Smallest climb of the learning distance, as a share of its largest value, that makes a peak."""


def double_descent(one: ArmPhases) -> Finding:
    """Judge "falls, rises, falls" on one arm; a missing or small second fall says only "prune further"."""
    shape, numbers = one.shape, turns(one)
    if shape.trough is None or shape.peak is None:
        shown = sum(1 for seed in one.by_seed.values() if seed.descends_twice)
        text = (
            "no fall and rise of a point or more on the mean curve "
            f"({shown} of {count(len(one.by_seed), 'seed')} with one)"
        )
        return Finding("contradicted" if one.verdict == "no" else "inconclusive", text, numbers)
    for name, part in {"fall": one.fall, "rise": one.rise, "second_fall": one.second_fall}.items():
        numbers |= interval(f"{name}_points", part, 100)
    text = (
        f"falls by {one.fall.text()} points to the worst at {density(shape.trough.density)} density, "
        f"rises by {one.rise.text()} to the best at {density(shape.peak.density)}"
    )
    second = judge(one.second_fall, at_least=LEAST)
    if shape.peak.level == shape.last.level:
        text += ", and is still at its best at the last level, so the second fall was not reached"
    else:
        text += f", falls again by {one.second_fall.text()} down to {density(shape.last.density)}"
    outcome = together(
        [
            judge(one.fall, at_least=LEAST),
            judge(one.rise, at_least=LEAST),
            second if second == "supported" else "inconclusive",
        ]
    )
    return Finding(outcome, f"{text} ({seeds(one.fall.n)})", numbers)


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
    fall = paired(one.arm.at("test_accuracy", level), one.arm.at("test_accuracy", shape.dense.level))
    numbers |= {"density": at, "train_accuracy": train, **interval("fall_points", fall, 100)}
    text = (
        f"test accuracy is down by {fall.text()} points at {density(at)} density, where train accuracy is "
        f"still {percent(train)}"
    )
    if shape.trough and one.fall.mean and fall.mean is not None:
        share = fall.mean / one.fall.mean
        numbers |= {"share_of_the_fall": share, "levels_from_onset_to_worst": shape.trough.level - level - 1}
        text += f", {percent(share, 0)} of the whole fall"
    return Finding(judge(fall, at_least=LEAST), f"{text} ({seeds(fall.n)})", numbers)


def distance_against_worst(one: ArmPhases, column: str = "learning_distance") -> Finding:
    """Judge whether the peak of a distance column lies within two levels of the worst test accuracy."""
    numbers, trough = turns(one), one.shape.trough
    if trough is None:
        return Finding("inconclusive", "test accuracy has no worst point followed by a rise", numbers)
    peaks = {seed: distance_peak(one.arm.of_seed(seed), column) for seed in one.by_seed}
    gaps = [
        peak - shape.trough.level
        for seed, shape in one.by_seed.items()
        if shape.trough and (peak := peaks[seed]) is not None
    ]
    gap = estimate(gaps, resolution=ROUNDING)
    mean_peak = distance_peak(one.arm.mean(), column)
    numbers |= {
        "worst_test_level": trough.level,
        "distance_peak_level": mean_peak,
        **interval("levels_apart", gap),
    }
    if mean_peak is None:
        text = (
            f"the learning distance has no peak on the mean curve ({len(gaps)} of {count(len(peaks), 'seed')} with one)"
        )
        return Finding("contradicted" if not gaps and len(peaks) > 1 else "inconclusive", text, numbers)
    text = (
        f"the distance peaks at level {mean_peak}, test accuracy is worst at level {trough.level}; levels "
        f"from worst to peak: {gap.text(lambda value: number(value, 1))} ({seeds(gap.n)})"
    )
    if gap.below(-NEAR) or gap.above(NEAR):
        return Finding("contradicted", text, numbers)
    return Finding("supported" if gap.above(-NEAR) and gap.below(NEAR) else "inconclusive", text, numbers)


def distance_peak(rows: pl.DataFrame, column: str = "learning_distance") -> int | None:
    """Return the level at which a distance column peaks: the top of its largest climb as density drops.

    The dense network may have moved furthest of all (it has the most weights to move), so the largest value
    will not do. None when the distance climbs by less than ``CLIMB`` of its largest value, or climbs to the
    very last level.
    """
    rows = rows.filter(pl.col(column).is_not_null())
    values = rows[column].to_list()
    start, top = largest_climb(values) if values else (0, 0)
    if top == start or top == len(values) - 1 or values[top] - values[start] < CLIMB * max(values):
        return None
    return int(rows["level"][top])


def turns(one: ArmPhases) -> dict[str, Number]:
    """Return the numbers every finding states: seeds, dense accuracy, worst and best with their densities."""
    shape = one.shape
    numbers: dict[str, Number] = {"seeds": len(one.by_seed), "dense_test_accuracy": shape.dense.accuracy}
    for name, turn in (("worst", shape.trough), ("best", shape.peak)):
        numbers[f"{name}_test_accuracy"] = turn.accuracy if turn else None
        numbers[f"{name}_density"] = turn.density if turn else None
    return numbers


def interval(name: str, found: Estimate, scale: float = 1.0) -> dict[str, Number]:
    """Return an estimate as numbers: ``name``, ``_low`` and ``_high`` (times ``scale``), ``_seeds``."""
    ends = {"": found.mean, "_low": found.low, "_high": found.high}
    numbers: dict[str, Number] = {f"{name}{end}": None if v is None else v * scale for end, v in ends.items()}
    return {**numbers, f"{name}_seeds": found.n}
