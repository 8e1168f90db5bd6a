"""What may be marked on a curve: named ranges of its axis, and points of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from overparam.report.axis import Axis


@dataclass(frozen=True)
class Band:
    """A range of the axis with a name above it; ``look`` is ``plain``, ``bad``, ``good``, ``gone`` or ``open``."""

    name: str
    look: str
    start: float
    end: float


@dataclass(frozen=True)
class Point:
    """A point of the first line of a panel, with words ``above`` or ``below`` it, or to the right at its ``start``."""

    x: float
    y: float
    text: str
    side: Literal["above", "below", "start"] = "above"


@dataclass(frozen=True)
class Marks:
    """The marks of one arm: ranges in the axis's order, and points; ``word`` is what a range is called."""

    bands: Sequence[Band] = ()
    points: Sequence[Point] = ()
    word: str = ""

    def name_at(self, axis: Axis, x: float) -> str:
        """Return the name of the range that a place lies in; a border belongs to the range that it ends."""
        slack = 1e-12
        ends = (band for band in self.bands if (x >= band.end - slack if axis.falling else x <= band.end + slack))
        return next((band.name for band in ends), "–")


NONE = Marks()
