"""Arms against each other over any axis, of any measure, told apart as asked: a sentence, tables, and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from overparam.errors import SpecError
from overparam.registry import suggest
from overparam.report.arms import Arm, arms
from overparam.report.card import Card
from overparam.report.compared import Compared, apart
from overparam.report.comparison import compared, comparison_table, headline
from overparam.report.measure import Measure, measure_for, measure_of
from overparam.report.paired import Difference
from overparam.report.roles import BRANCH, FAMILY, Columns, Roles, roles, values_of
from overparam.report.sections import Material, Table
from overparam.report.statistics import Estimate

if TYPE_CHECKING:
    from overparam.report.charts import Chart

BETTER = {"more": 1, "less": -1}
ROLES = ("colour", "dash", "facet")


@dataclass(frozen=True, eq=False)
class Contrast:
    """Arms against each other.

    Attributes:
        of: what is compared.
        arms: the arms, over the axis.
        roles: the columns that colour, dash and panel tell in the chart.
        lacks: how much of the study is there while it is not whole; then nothing is called best in words.
    """

    of: Measure
    arms: Sequence[Arm]
    roles: Roles
    lacks: str | None = None

    @cached_property
    def compared(self) -> list[Compared]:
        """The arms under each condition, such as a rate of label noise."""
        return [each for each in compared(self.arms, self.of) if each.places]

    @property
    def sentence(self) -> str:
        """What was found, as far as the seeds tell."""
        if self.lacks is not None:
            return f"Incomplete: {self.lacks}. Which arm is best is told when the study is whole."
        if len(self.arms) == 1:
            return "There is one arm, so there is nothing to compare it with."
        if not self.compared:
            return "No two arms were measured at one place of this axis, so none is set against another."
        return headline(self.compared)

    @property
    def tables(self) -> list[Table]:
        """A table of places by arms for each condition, in words."""
        return [comparison_table(each, self.lacks) for each in self.compared]

    @cached_property
    def frame(self) -> pl.DataFrame:
        """A row for each condition, place and arm.

        ``condition``, ``arm``, the column of the axis, ``mean`` over ``n`` seeds, whether it is ``best`` there,
        whether it is ``open`` (the best, or not to be told from it), and ``behind`` with ``behind_low`` and
        ``behind_high``: the paired difference to the best and its 95 % interval.
        """
        head = dict.fromkeys(("condition", "arm"), pl.String) | {self.arms[0].axis.column: pl.Float64}
        truths = {"mean": pl.Float64, "n": pl.Int64, "best": pl.Boolean, "open": pl.Boolean}
        behind = dict.fromkeys(("behind", "behind_low", "behind_high"), pl.Float64)
        return pl.DataFrame([row for each in self.compared for row in _rows(each)], {**head, **truths, **behind})

    @property
    def ranks(self) -> pl.DataFrame:
        """The mean rank of each arm (1: best) with its 95 % interval over ``n`` seeds, over the shared ``places``."""
        rows = [
            {
                **{"condition": each.condition, "arm": each.names[arm], "rank": rank.mean},
                **{"low": rank.low, "high": rank.high, "n": rank.n, "places": len(each.ranked[1])},
            }
            for each in self.compared
            for arm, rank in sorted(each.ranks.items(), key=lambda one: one[1].mean or 0.0)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def differences(self, against: str) -> pl.DataFrame:
        """Return what each arm is above another one, paired by seeds, at each place that both have.

        Args:
            against: what the other is called, as ``arm`` of :attr:`frame`.

        Returns:
            ``condition``, ``arm``, the column of the axis, ``difference``, the ends ``difference_low`` and
            ``difference_high`` of its 95 % interval, and ``n`` seeds that both have.

        Raises:
            SpecError: no arm is called so.
        """
        known = list(dict.fromkeys(name for each in self.compared for name in each.names))
        if against not in known:
            raise SpecError(f"against {against!r} is no arm here{suggest(against, known)} (arms: {', '.join(known)})")
        rows = [row for each in self.compared if against in each.names for row in _apart(each, against)]
        return pl.DataFrame(rows, infer_schema_length=None)

    def chart(self, width: int = 860) -> Chart:
        """Return the chart, of Altair: colour and marker are methods, the dash conditions, unless asked otherwise."""
        from overparam.report.multiples import comparison_chart

        title = f"{self.of.title} over {self.arms[0].axis.word}"
        return comparison_chart(self.arms, column=self.of.column, title=title, width=width, roles_of=self.roles)

    def save(self, path: str | Path) -> Path:
        """Write the chart as PNG, SVG, PDF or Vega-Lite JSON, by the suffix of ``path``."""
        from overparam.report.figures import save_chart

        return save_chart(self.chart(), path)

    def card(self) -> Card:
        """Return what is printed of it."""
        return Card(self.sentence, {}, self.tables)

    def __repr__(self) -> str:
        return str(self.card())

    def _repr_html_(self) -> str:
        """Return what notebooks show."""
        return self.card().html()


def contrast(
    material: Material,
    y: str | None = None,
    x: str | None = None,
    *,
    colour: Columns = None,
    dash: Columns = None,
    facet: Columns = None,
    better: str | None = None,
) -> Contrast:
    """Set the arms of a study against each other; see :meth:`overparam.Results.compare`."""
    if material.frame.is_empty():
        raise SpecError("nothing is finished yet, so there are no arms to compare; run the study first")
    over = replace(material, named=_column(material, "x", x)) if x is not None else material
    of = measure_for(_column(material, "y", y)) if y is not None else measure_of(over.arms)
    if better is not None and better not in BETTER:
        raise SpecError(f"better must be more or less, got {better!r}")
    of = replace(of, sign=BETTER[better]) if better is not None else of
    asked = {role: _columns(over, role, given) for role, given in zip(ROLES, (colour, dash, facet), strict=True)}
    every = _arms(over, [name for names in asked.values() for name in names or ()])
    found = [arm for arm in every if arm.has(of.column)]
    if not found:
        raise SpecError(f"y {of.column!r} was measured on no checkpoint that has a place on the axis {over.axis.word}")
    return Contrast(of, found, roles(values_of(found), **asked), material.lacks)


def _columns(material: Material, role: str, given: Columns) -> tuple[str, ...] | None:
    names = None if given is None else (given,) if isinstance(given, str) else tuple(given)
    return names and tuple(name if name in (FAMILY, BRANCH) else _column(material, role, name) for name in names)


def _column(material: Material, role: str, name: str) -> str:
    """Return the column that a name means: its own, or the last part of a single swept path."""
    known = [*material.drawn.columns, "iteration"]
    last = [column for column in known if column.rpartition(".")[2] == name]
    if name in known or len(last) == 1:
        return name if name in known else last[0]
    raise SpecError(f"{role} {name!r} is neither swept nor measured{suggest(name, known)} (known: {', '.join(known)})")


def _arms(material: Material, asked: Sequence[str]) -> list[Arm]:
    """Return the arms of a study, split by further columns where these are asked for."""
    names = {name for values in values_of(material.arms) for name in values}
    more = [name for name in asked if name not in (*names, FAMILY, BRANCH, material.arms[0].key)]
    frame = material.drawn
    for name in more:
        if frame.group_by("chain").agg(pl.col(name).drop_nulls().n_unique())[name].max() != 1:
            raise SpecError(f"{name!r} changes along the line of an arm, so it cannot tell lines apart; use it as x")
    return (
        arms(frame, material.axis, [*sorted(names - {FAMILY, BRANCH, "level", "step"}), *more])
        if more
        else material.arms
    )


def _rows(found: Compared) -> list[dict[str, Any]]:
    return [
        {
            **{"condition": found.condition, "arm": found.names[arm], found.arms[arm].axis.column: at},
            **{"mean": one.mean, "n": len(one.values), "best": one.best, "open": one.open},
            **_interval("behind", one.behind),
        }
        for (at, _), row in zip(found.places, found.standings, strict=True)
        for arm, one in row.items()
    ]


def _apart(found: Compared, against: str) -> list[dict[str, Any]]:
    other = found.names.index(against)
    return [
        {
            **{"condition": found.condition, "arm": found.names[arm], found.arms[arm].axis.column: at},
            **_interval("difference", apart(at, one, row[other])),
            "n": len(one.values.keys() & row[other].values.keys()),
        }
        for (at, _), row in zip(found.places, found.standings, strict=True)
        if other in row
        for arm, one in row.items()
        if arm != other
    ]


def _interval(name: str, found: Difference | None) -> dict[str, float | None]:
    over = found.estimate if found else Estimate(None, None, None, 0)
    return {name: over.mean, f"{name}_low": over.low, f"{name}_high": over.high}
