"""What accuracy costs: the networks that no other beats in both, beside the dense parent and smaller dense ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isclose
from typing import Any

from overparam.report.arms import Arm
from overparam.report.costs import COSTS, Cost
from overparam.report.curves import curve, place_of
from overparam.report.measure import Measure
from overparam.report.panels import rows_with
from overparam.report.roles import by_data
from overparam.report.sections import Cell, Column, Table
from overparam.report.turning import LEAST
from overparam.report.words import count

PARENT, EQUAL = "dense parent", "small dense network"

DRAWN = ("kept", "multiply_adds_effective", "stored_bytes", "milliseconds", "seconds_all", "seconds")
"""Costs that have a picture, as far as they are measured; density and what is made of it order as weights do."""

ROWS = 40
"""Most networks that a table of costs has; of more it has those that no other beats."""


@dataclass(frozen=True, eq=False)
class Network:
    """One arm at one place.

    Attributes:
        arm: what its arm is called.
        place: where on the axis it is, in words.
        row: means over seeds: what is compared and every cost, with ``_low`` and ``_high`` ends, and ``n`` seeds.
        kind: :data:`PARENT`, the largest network that nothing was pruned of; :data:`EQUAL`, a smaller such one, trained
            from scratch; else empty.
    """

    arm: str
    place: str
    row: dict[str, Any]
    kind: str = ""

    def __getitem__(self, column: str) -> float | None:
        return self.row.get(column)


@dataclass(frozen=True, eq=False)
class Tradeoff:
    """The networks of one condition, by what they cost and what they do.

    Attributes:
        networks: all of them.
        of: what they do.
        condition: in words; empty: there is but one.
    """

    networks: Sequence[Network]
    of: Measure
    condition: str = ""

    @property
    def costs(self) -> list[Cost]:
        """The costs that were measured, and differ."""
        return [cost for cost in COSTS if len({each[cost.column] for each in self.networks} - {None}) > 1]

    @cached_property
    def drawn(self) -> list[Cost]:
        """The costs that have a picture; of those that are proportional to each other, the first."""
        found: list[Cost] = []
        for cost in sorted(
            (cost for cost in self.costs if cost.column in DRAWN), key=lambda cost: DRAWN.index(cost.column)
        ):
            if not any(self._proportional(cost, other) for other in found):
                found.append(cost)
        return [
            cost for cost in found if cost.column != "seconds" or "seconds_all" not in {one.column for one in found}
        ]

    def _proportional(self, one: Cost, other: Cost) -> bool:
        pairs = [(each[one.column], each[other.column]) for each in self.networks]
        ratios = [a / b for a, b in pairs if a and b]
        return bool(ratios) and all(isclose(ratio, ratios[0], rel_tol=0.02) for ratio in ratios)

    def front(self, cost: Cost) -> list[Network]:
        """Return the networks of which no other is both no dearer and better, from the cheapest on."""
        found: list[Network] = []
        for each in sorted(self._priced(cost), key=lambda one: (one[cost.column], -self.good(one))):
            if not found or self.good(each) > self.good(found[-1]):
                found.append(each)
        return found

    def shown(self, cost: Cost) -> list[Network]:
        """Return the networks that are drawn: all but those much worse than the worst of the front and the dense."""
        known = [self.good(each) for each in [*self.front(cost), *(each for each in self.networks if each.kind)]]
        floor = min(known) - max(max(known) - min(known), 2 * LEAST if self.of.share else 0.1 * abs(min(known)))
        return [each for each in self._priced(cost) if self.good(each) >= floor]

    def _priced(self, cost: Cost) -> list[Network]:
        return [each for each in self.networks if each[cost.column]]

    def good(self, network: Network) -> float:
        """Return what a network does, more being better."""
        value = network[self.of.column]
        return -inf if value is None else self.of.sign * value


def tradeoffs(arms: Sequence[Arm], of: Measure) -> list[Tradeoff]:
    """Return the networks of each kind of data; ``of`` is what they do, of which it is known which way is better."""
    measured = [arm for arm in arms if arm.has(of.column)] if of.sign else []
    groups = by_data(measured) if measured else []
    return [Tradeoff(_networks(found, names, of), of, condition) for condition, found, names in groups]


def _networks(arms: Sequence[Arm], names: Sequence[str], of: Measure) -> list[Network]:
    """Return every place of every arm; what several arms have in common, such as their dense network, once."""
    columns = [of.column, *(cost.column for cost in COSTS if cost.column != "kept")]
    rows = [
        (name, arm, row)
        for name, arm in zip(names, arms, strict=True)
        for row in rows_with(curve(arm, list(dict.fromkeys(columns))), of.column)
    ]
    dense = [float(str(row.get("kept") or 0)) for _, _, row in rows if row.get("density") == 1]
    found: dict[tuple[Any, ...], Network] = {}
    for name, arm, row in rows:
        kind = "" if row.get("density") != 1 else PARENT if float(str(row.get("kept") or 0)) == max(dense) else EQUAL
        key = tuple(row.get(column) for column in (of.column, "kept", "n", "seconds"))
        found.setdefault(key, Network(name, place_of(arm, row), row, kind))
    return list(found.values())


def cost_table(found: Tradeoff) -> Table:
    """Return what each network costs; those that no other beats in one of the drawn costs stand out."""
    costs = [cost for cost in found.costs if cost.column != "sparsity"]  # which the density tells
    fronts = {id(each) for cost in found.drawn for each in found.front(cost)}
    shown = [each for each in found.networks if len(found.networks) <= ROWS or id(each) in fronts or each.kind]
    heads = [Column("network", words=True), Column(found.of.title.lower()), *(Column(cost.title) for cost in costs)]
    rows: list[list[Cell]] = [
        [
            (each.arm, each.kind or each.place),
            found.of.write(each[found.of.column]),
            *(cost.write(each[cost.column]) for cost in costs),
        ]
        for each in shown
    ]
    says = "; ".join(f"{cost.title}: {cost.says}" for cost in costs)
    left = f" {count(len(found.networks) - len(shown), 'network')} that others beat in all of it left out."
    note = f"Means over seeds. Bold: no other network costs no more and does better. {says}."
    best = frozenset((n, 0) for n, each in enumerate(shown) if id(each) in fronts)
    title = f"What each network costs{f', {found.condition}' * bool(found.condition)}"
    return Table(heads, rows, title, note + left * (len(shown) < len(found.networks)), look="costs", best=best)


def words(found: Tradeoff) -> str:
    """Say which dense networks are in the picture, since a pruned one is to be judged beside them."""
    kinds = {each.kind for each in found.networks}
    if EQUAL in kinds:
        return f"Marked: the {PARENT}, and dense networks that were smaller from the start, trained from scratch."
    if PARENT in kinds:
        return (
            f"Marked: the {PARENT}. No smaller dense network was trained from scratch here, beside which the pruned "
            "ones are to be judged; add a variant of a smaller network with the chain [train]."
        )
    return "No dense network was measured here, neither the parent nor one of a pruned one's size."
