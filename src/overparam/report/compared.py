"""Arms against each other: place by place, seed by seed, with what is best and what cannot be told from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isclose, isfinite
from typing import Any

import numpy as np

from overparam.report.arms import Arm
from overparam.report.measure import Measure
from overparam.report.noise import Floats
from overparam.report.paired import APART, Difference, means, spots
from overparam.report.statistics import CONFIDENCE, Estimate, estimate

Keys = Mapping[int, Any]


@dataclass(frozen=True)
class Standing:
    """One arm at one place, beside the best one there.

    Attributes:
        values: by seed.
        behind: the paired difference to the best arm, this one minus that one; None of the best arm itself.
        best: whether it is the best one.
        open: whether it is the best one or cannot be told from it.
    """

    values: Mapping[int, float]
    behind: Difference | None = None
    best: bool = False
    open: bool = False

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return sum(self.values.values()) / len(self.values)


@dataclass(frozen=True, eq=False)
class Compared:
    """Arms over one axis, set against each other under one condition.

    The arms of a place that are ``open`` hold the truly best one with at least 95 % confidence: an arm is closed when
    the interval of its paired difference to the best one, at 95 % for all arms of the place together (Bonferroni),
    leaves out zero. (Hsu, 1981, *Annals of Statistics* 9: subsets that hold the best; here by paired t tests.)

    Args:
        arms: the arms.
        names: what each is called among them.
        of: what is compared; where nobody knows which way is better, none is best.
        condition: in words, under what; empty: there is but one.
        same_size: whether at a place only networks of as many kept weights are set against each other: a small dense
            network is no rival of a large one, though both have density 1.
    """

    arms: Sequence[Arm]
    names: Sequence[str]
    of: Measure
    condition: str = ""
    same_size: bool = True

    @cached_property
    def places(self) -> list[tuple[float, Keys]]:
        """The places that several arms have, in the axis's order: where on it, and the key of each arm there."""
        every = [spot for number, arm in enumerate(self.arms) for spot in self._spots(number, arm)]
        every.sort(key=lambda spot: (-spot[0] if self.arms[0].axis.falling else spot[0], -spot[1]))
        found: list[tuple[float, float, dict[int, Any]]] = []
        for at, size, arm, key in every:
            near = found and isclose(at, found[-1][0], rel_tol=APART) and isclose(size, found[-1][1], rel_tol=APART)
            if near and arm not in found[-1][2]:
                found[-1][2][arm] = key
            else:
                found.append((at, size, {arm: key}))
        return [(at, keys) for at, _, keys in found if len(keys) > 1]

    def _spots(self, number: int, arm: Arm) -> list[tuple[float, float, int, Any]]:
        """Return the places of an arm: where on the axis, how many weights are kept there, its number, and the key."""
        measured = [(key, at) for key, at in spots(arm) if self._values(arm, key)]
        sized = self.same_size and arm.has("kept")
        sizes = [estimate(arm.at("kept", key).values()).mean or 0.0 if sized else 0.0 for key, _ in measured]
        return [(at, size, number, key) for (key, at), size in zip(measured, sizes, strict=True)]

    def _values(self, arm: Arm, key: Any) -> dict[int, float]:
        found = arm.at(self.of.column, key).items()
        return {seed: value for seed, value in found if value is not None and isfinite(value)}

    @cached_property
    def standings(self) -> list[dict[int, Standing]]:
        """For each place the standing of each arm that has it, by its number."""
        rows = [(at, {arm: self._values(self.arms[arm], key) for arm, key in keys.items()}) for at, keys in self.places]
        return [self._stand(at, values) for at, values in rows]

    def _stand(self, at: float, values: Mapping[int, Mapping[int, float]]) -> dict[int, Standing]:
        found = {arm: Standing(own) for arm, own in values.items()}
        if not self.of.sign:
            return found
        best = max(found, key=lambda arm: self.of.sign * found[arm].mean)
        for arm, own in values.items():
            behind = Difference(at, {seed: own[seed] - values[best][seed] for seed in own.keys() & values[best].keys()})
            found[arm] = Standing(own, behind, open=not self.worse(behind, len(values) - 1))
        return {**found, best: Standing(values[best], best=True, open=True)}

    def worse(self, behind: Difference, together: int) -> bool:
        """Whether an arm that is so far behind is surely worse, where so many are asked about ``together``."""
        sure = estimate(behind.by_seed.values(), confidence=1 - (1 - CONFIDENCE) / together)
        return sure.below(0) if self.of.sign > 0 else sure.above(0)

    @cached_property
    def ranked(self) -> tuple[list[int], list[int]]:
        """The arms that are ranked, and over the places of which numbers: the most cells without a gap.

        The sets of places that are tried are those of each arm.
        """
        have = {arm: {n for n, (_, keys) in enumerate(self.places) if arm in keys} for arm in range(len(self.arms))}
        blocks = [([arm for arm in have if have[arm] >= own], sorted(own)) for own in have.values()]
        return max(blocks, key=lambda block: len(block[0]) * len(block[1]) * (len(block[0]) > 1), default=([], []))

    @cached_property
    def ranks(self) -> dict[int, Estimate]:
        """The mean rank of each ranked arm over the places (1: best; equal ones share), over seeds."""
        found, places = self.ranked
        cells = [[self.standings[n][arm].values for arm in found] for n in places]
        common = sorted(set.intersection(*(set(cell) for row in cells for cell in row))) if cells else []
        if not self.of.sign or not common:
            return {}
        by_seed = [_ranks(self.of.sign * np.array([[cell[seed] for cell in row] for row in cells])) for seed in common]
        return {arm: estimate(ranks[column] for ranks in by_seed) for column, arm in enumerate(found)}

    @property
    def order(self) -> list[int]:
        """The numbers of the arms: ranked ones by their mean rank, the others behind them as they came."""
        return sorted(range(len(self.arms)), key=lambda arm: self.ranks[arm].mean or 0.0 if arm in self.ranks else 1e9)

    def difference(self, one: int, other: int) -> Difference:
        """Return what a ranked arm is above another: for each seed the mean over the ranked places."""
        shared = [(self.places[n][0], self.standings[n]) for n in self.ranked[1]]
        found = [apart(at, row[one], row[other]) for at, row in shared]
        return Difference(found[0].at, means(found))


def apart(at: float, one: Standing, other: Standing) -> Difference:
    """Return what one arm is above another at a place."""
    return Difference(
        at, {seed: one.values[seed] - other.values[seed] for seed in one.values.keys() & other.values.keys()}
    )


def _ranks(values: Floats) -> Floats:
    """Return the mean rank over rows of each column; the largest has 1, equal ones share theirs.

    >>> _ranks(np.array([[3.0, 2.0, 2.0], [1.0, 9.0, 5.0]])).tolist()
    [2.0, 1.75, 2.25]
    """
    above = (values[:, None, :] > values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return np.asarray((above + (equal + 1) / 2).mean(axis=0))
