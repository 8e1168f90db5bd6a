"""What an arm's curve does along its axis, in a plain sentence, whatever the axis is."""

from __future__ import annotations

import math

import numpy as np

from overparam.report.arms import Arm
from overparam.report.curves import curve
from overparam.report.measure import Measure, measure_of
from overparam.report.panels import rows_with
from overparam.report.statistics import Estimate, estimate
from overparam.report.turning import LEAST, SIGNIFICANT, Turning, find_turns
from overparam.report.words import count, percent, seeds

PLACES = 5
"""Fewest places on an axis at which a second descent is looked for."""


def finding(arm: Arm, lacks: str | None = None) -> str:
    """Say what the mean test accuracy of an arm does along its axis; of a study that ``lacks`` rows, that it does.

    Where there is no accuracy, as in a regression, it is the loss. A second descent of the test error is named with its
    axis, where all places and seeds together show one (:mod:`overparam.report.turning`).
    """
    of, axis = measure_of([arm]), arm.axis
    if lacks is not None:
        return f"Incomplete: {lacks}. What {of.title.lower()} does is told when the study is whole."
    if not arm.has(of.column):
        return f"{of.title} was not measured."
    rows = rows_with(curve(arm, [of.column]), of.column)
    places = [(float(str(row[axis.column])), float(str(row[of.column]))) for row in rows]
    if len(places) == 1:
        return f"{of.title} is {of.write(places[0][1])} at {axis.at(places[0][0])}."
    turning = second_descent(arm)
    if turning is not None:
        return _turns(arm, places, turning)
    (start, first), (end, last) = places[0], places[-1]
    change = estimate(arm.table(of.column)[:, -1] - arm.table(of.column)[:, 0])
    change = change.map(lambda size: min(1.0, max(-1.0, size)) if of.share else size)  # no share changes by more
    text = f"{_changes(of, change)} from {of.write(first)} at {axis.at(start)} to {of.write(last)} at {axis.at(end)}"
    split = arm.chosen_on(of.metric)
    column = f"{split}_{of.metric}"
    chosen = {float(str(row[axis.column])): float(str(row[column])) for row in rows_with(curve(arm, [column]), column)}
    where, best = max(places, key=lambda place: of.sign * chosen.get(place[0], -of.sign * math.inf))
    if of.clearly(best, max(first, last, key=lambda value: of.sign * value)):
        by = "" if split == "test" else f" (chosen on the {split} set)"
        text += f"; the {of.superlative} is {of.write(best)} at {axis.at(where)}{by}"
    return f"{text} ({seeds(change.n)})."


def second_descent(arm: Arm) -> Turning | None:
    """Return the turns of a test accuracy that rises, falls and rises again with growing size; None without them."""
    table = arm.table("test_accuracy")
    if len(table) < 2 or table.shape[1] < PLACES or not np.isfinite(table).all():
        return None
    found = find_turns(table, -1 if arm.axis.falling else 1)
    large = all((size.mean or 0.0) >= LEAST for size in found.sizes)
    return found if large and found.p_value is not None and found.p_value <= SIGNIFICANT else None


def _turns(arm: Arm, places: list[tuple[float, float]], turning: Turning) -> str:
    at = [0, *(int(span.at) for span in turning.turns), len(places) - 1]
    one, two, three, four = (f"{percent(places[place][1])} at {arm.axis.at(places[place][0])}" for place in at)
    down, up = ("falls", "rises") if arm.axis.falling else ("rises", "falls")
    return (
        f"Test accuracy {down} from {one} to {two}, {up} to {three} and {down} again to {four}: a second descent over "
        f"{arm.axis.word} (p = {turning.p_value:.3f}, {count(len(arm.seeds), 'seed')})."
    )


def _changes(of: Measure, change: Estimate) -> str:
    """Say which way a measure goes and by how much, as far as the seeds tell."""
    way = "rises" if change.above(0) else "falls" if change.below(0) else "changes"
    return f"{of.title} {way} by {(-change if way == 'falls' else change).text(of.change)}{of.unit},"
