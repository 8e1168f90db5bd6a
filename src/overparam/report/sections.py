"""What a page is made of: sections with a title, sentences, tables and charts, made from a study's results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from overparam.report.arms import Arm, arms, gaps, sweep_columns
from overparam.report.axis import Axis, fitting_axis
from overparam.report.claims import Verdict
from overparam.report.costs import with_costs
from overparam.report.marks import Marks
from overparam.report.panels import Panel


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, whether it holds words, and whether a terminal is too narrow for it."""

    head: str
    words: bool = False
    wide: bool = False


Cell = str | tuple[str, str]
"""A cell of a table; the second of two texts is small print below the first."""


@dataclass(frozen=True)
class Table:
    """A table of words.

    Args:
        columns: their heads.
        rows: a cell for each column.
        title: of which arm it is, where a page has a table for each.
        note: what to know of its numbers.
        strong: the rows that stand out.
        look: ``plain``; ``tiles``, one row of large numbers; ``costs``; or, which commands print too, ``levels``, a row
            for each measured place, and ``compared``, arms against each other.
        finding: what a ``levels`` or ``compared`` table says, in a sentence.
        best: cells that stand out, as (row, column).
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    note: str = ""
    strong: frozenset[int] = frozenset()
    look: str = "plain"
    finding: str = ""
    best: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, eq=False)
class ArmCharts:
    """One panel, drawn for each arm; the reader picks the arm. ``marks`` are by the arm's label."""

    panel: Panel
    arms: Sequence[Arm]
    marks: Mapping[str, Marks] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Comparison:
    """All arms in one chart of one column; ``name`` is that of the chart on its page, and of its file."""

    arms: Sequence[Arm]
    column: str = "test_accuracy"
    title: str = "Test accuracy, arm by arm"
    name: str = "comparison"


@dataclass(frozen=True, eq=False)
class Picture:
    """A chart of any kind.

    Args:
        name: of the chart on its page, and of its file.
        says: what a screen reader says of it.
        draw: makes the chart (of Altair), of an arm or of all, for a width in pixels or ``"container"``; None: there
            is nothing to draw.
        arms: those that have one each, of which the reader picks; none: there is one for all.
        letters: of the longest name in its legend.
    """

    name: str
    says: str
    draw: Callable[[Arm | None, int | str], Any]
    arms: Sequence[Arm] = ()
    letters: int = 20

    @property
    def drawn_of(self) -> list[Arm | None]:
        """The arms that have a chart each, or None for all together."""
        return [*self.arms] or [None]


def name_of(chart: ArmCharts | Comparison | Picture) -> str:
    """Return the name of a chart on its page, and of its file."""
    return chart.panel.name if isinstance(chart, ArmCharts) else chart.name


@dataclass(frozen=True, eq=False)
class Section:
    """A part of a page. The first one's title is the headline of the page.

    Args:
        title: its heading.
        text: sentences above.
        tables: tables.
        charts: charts.
        note: a sentence below the charts.
        verdicts: claims that were tested.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[ArmCharts | Comparison | Picture] = ()
    note: str = ""
    verdicts: Sequence[Verdict] = ()


@dataclass(frozen=True, eq=False)
class Material:
    """The results of a study, of which sections are made.

    Args:
        frame: the results table, one row per checkpoint.
        named: the column that the study names as its axis.
        absent: the coordinates of rows that are planned and not there, as far as they are known.
        missing: how many those are.
        curves: a row for each checkpoint and evaluated iteration, which the axis ``iteration`` needs.
    """

    frame: pl.DataFrame
    named: str = "density"
    absent: pl.DataFrame = field(default_factory=pl.DataFrame)
    missing: int = 0
    curves: pl.DataFrame = field(default_factory=pl.DataFrame)

    @cached_property
    def drawn(self) -> pl.DataFrame:
        """The table that tables and charts are made of: the results, or over iterations the curves behind them."""
        if self.named != "iteration" or self.frame.is_empty():
            return with_costs(self.frame)
        evaluated = self.curves
        if "test_accuracy" in evaluated.columns:
            evaluated = evaluated.filter(pl.col("test_accuracy").is_not_null())
        return evaluated.join(self.frame.select("chain", "step", "density", "kept", "weights"), on=["chain", "step"])

    @cached_property
    def axis(self) -> Axis:
        """The axis: the named one, or what varies where that is density and nothing was pruned."""
        planned = self.drawn
        if len(self.absent):
            planned = pl.concat([planned, self.absent], how="diagonal_relaxed")
        return fitting_axis(planned, self.named, sweep_columns(planned) if len(planned) else ())

    @cached_property
    def arms(self) -> list[Arm]:
        """The arms over :attr:`axis`."""
        return [] if self.drawn.is_empty() else arms(self.drawn, self.axis)

    @cached_property
    def lacks(self) -> str | None:
        """How much of the study is there ("14 of 84 rows") while it is not whole, else None."""
        whole = len(self.frame) + self.missing
        return f"{len(self.frame)} of {whole} rows" if self.missing else gaps(self.arms)
