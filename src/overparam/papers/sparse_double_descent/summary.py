"""A line of the README from the numbers of a study that are kept."""

from __future__ import annotations

from overparam.papers.numbers import Numbers
from overparam.papers.sparse_double_descent.phases import ArmPhases, phases
from overparam.papers.sparse_double_descent.shape import Turn
from overparam.report.words import density, percent

HEAD = "| study | dense | trough | peak | falls by | rises by | falls again by | answer | seeds | made on |"


def row(numbers: Numbers) -> str:
    """Return the numbers of a study's first arm as a row below :data:`HEAD`; sizes in points, with 95 % intervals."""
    one = phases(numbers.frame)[0]
    made = f"{numbers.made['processor']}, {numbers.seconds:.0f} s of training in all, {numbers.made['steps made'][:10]}"
    cells = [
        f"`{numbers.study}`",
        percent(one.shape.dense.accuracy),
        _turn(one.shape.trough),
        _turn(one.shape.peak),
        *(size.text() for size in (one.fall, one.rise, one.second_fall)),
        _answer(one),
        str(len(one.arm.seeds)),
        made,
    ]
    return f"| {' | '.join(cells)} |"


def _turn(turn: Turn | None) -> str:
    return "–" if turn is None else f"{percent(turn.accuracy)} at {density(turn.density)} (level {turn.level})"


def _answer(one: ArmPhases) -> str:
    turning = one.shape.turning
    return one.verdict if turning is None or turning.p_value is None else f"{one.verdict} (p = {turning.p_value:.3f})"
