"""Paired differences: one arm minus another, seed by seed, wherever both were measured at the same place.

Most claims of the literature set two arms against each other: a ticket and its new initialisation, one criterion and
another. Seeds are paired, since both arms of a seed share their data, and often their dense network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

import polars as pl

from overparam.errors import DataError
from overparam.report.arms import Arm
from overparam.report.claims import Finding, judged, lacks
from overparam.report.statistics import Estimate, estimate
from overparam.report.words import seeds

__all__ = ["Difference", "arm_of", "paired"]


@dataclass(frozen=True)
class Difference:
    """What one arm is above another at a place of their axis.

    Attributes:
        at: the place: the mean over seeds of what the axis measures, of the first arm.
        by_seed: the difference of each seed that both arms have there.
    """

    at: float
    by_seed: Mapping[int, float]

    @property
    def estimate(self) -> Estimate:
        """The mean over seeds with its 95 % interval."""
        return estimate(self.by_seed.values())


def arm_of(found: Sequence[Arm], **values: Any) -> Arm | None:
    """Return the one arm with these values, such as ``variant="reinit"`` or ``criterion="random"``; None without one.

    Raises :class:`DataError` if several have them.
    """
    fitting = [arm for arm in found if all(arm.values.get(name) == value for name, value in values.items())]
    if len(fitting) > 1:
        asked = ", ".join(f"{name} {value!r}" for name, value in values.items())
        raise DataError(f"several arms have {asked}: {', '.join(arm.label for arm in fitting)}; name more values")
    return fitting[0] if fitting else None


APART = 0.02
"""How far places may lie apart and be one, relative to the larger: masks of equal share differ by a weight."""


def paired(first: Arm, second: Arm, column: str = "test_accuracy", *, apart: float = APART) -> list[Difference]:
    """Return ``first - second`` at each place of ``first`` that ``second`` has too, in the order of the axis.

    Args:
        first, second: arms over one axis.
        column: what is compared; places without a number in either are left out.
        apart: as :data:`APART`.
    """
    others = spots(second)
    made = []
    for place, at in spots(first):
        near = [(abs(there - at), other) for other, there in others if isclose(there, at, rel_tol=apart)]
        own, against = first.at(column, place), second.at(column, min(near)[1]) if near else {}
        both = {seed: (own[seed], against.get(seed)) for seed in own}
        found = {seed: one - two for seed, (one, two) in both.items() if one is not None and two is not None}
        if found:
            made.append(Difference(at, found))
    return made


def spots(arm: Arm) -> list[tuple[Any, float]]:
    """Return the places of an arm that at least half of its seeds reached, each with where it lies on the axis."""
    means = arm.mean()
    return list(zip(means[arm.key].to_list(), means[arm.axis.column].to_list(), strict=True))


def pooled(found: Sequence[Difference], low: float = 0.0, high: float = float("inf")) -> Estimate:
    """Return :func:`means` as one estimate over seeds."""
    return estimate(means(found, low, high).values())


def means(found: Sequence[Difference], low: float = 0.0, high: float = float("inf")) -> dict[int, float]:
    """Return the mean of each seed over the places from ``low`` to ``high``.

    A seed that lacks one of these places is left out, so that all seeds are means over the same.
    """
    inside = [each.by_seed for each in found if low <= each.at <= high]
    whole = set.intersection(*(set(each) for each in inside)) if inside else set[int]()
    return {seed: sum(each[seed] for each in inside) / len(inside) for seed in sorted(whole)}


def by_seed(frame: pl.DataFrame, column: str = "test_accuracy", **values: Any) -> dict[int, float]:
    """Return ``{seed: value of column}`` of the rows with these values, such as ``variant="random", kind="measure"``.

    Of several rows of a seed the last step's is taken; those without a number are left out.
    """
    asked = [pl.col(name) == value for name, value in values.items() if name in frame.columns]
    if len(asked) < len(values) or column not in frame.columns:
        return {}
    rows = frame.filter(*asked, pl.col(column).is_not_null()).sort("step")
    return dict(zip(rows["seed"].to_list(), rows[column].cast(pl.Float64).to_list(), strict=True))


def above(first: Mapping[int, float], second: Mapping[int, float], one: str, other: str, loss: float = 0.0) -> Finding:
    """Judge "``one`` is above ``other``", or less than ``loss`` below it, by the differences of the seeds of both."""
    found = estimate(first[seed] - second[seed] for seed in sorted(first.keys() & second.keys()))
    if not found.n:
        return lacks(other if first else one)
    text = f"{one} is {found.text()} points above {other} ({seeds(found.n)})"
    numbers = {"difference": found.mean, "low": found.low, "high": found.high}
    return judged(found.map(lambda value: value + loss), text, numbers)
