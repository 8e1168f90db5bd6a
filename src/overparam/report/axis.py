"""What a study is drawn over: density by default, or a swept path or measured column such as width, bits or rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any, Literal

import polars as pl

from overparam.errors import SpecError
from overparam.registry import Registry, suggest
from overparam.report.costs import MADE, sources
from overparam.report.words import plain_number

SPAN = 20
"""How many times the smallest value the largest is, at least, where an axis of its own choice is logarithmic."""

COLUMNS = ("density", "sparsity", "compression_ratio", "step", "iteration", "kept", "weights")
"""Columns of every results table (``iteration`` of its curves) that can be an axis; probes and sweeps have others."""

NUMBERS = ("int", "float")


@dataclass(frozen=True)
class Axis:
    """One axis: the column it reads, and how that is scaled, named and written.

    Args:
        word: what sentences call it, e.g. ``"width"``.
        title: what charts call it; empty: the word.
        column: of the results table.
        scale: ``log`` and ``log2`` need positive values, and are linear without. None: logarithmic where positive
            values span a factor of :data:`SPAN`.
        falling: whether it runs from large to small, as from the dense network to the sparsest.
        phrase: how a place on it is told, of ``{word}`` and ``{value}``.
        write: a value as a reader sees it.
        form: the same as a d3 format, for charts.
        size: whether less of it is a smaller network.
        set_by: last parts of swept paths that decide where on it a network is.
        ticks: values that are labelled, as far as they lie on the axis; none: the drawing's own choice.
    """

    word: str
    title: str = ""
    column: str = ""
    scale: Literal["linear", "log", "log2"] | None = None
    falling: bool = False
    phrase: str = "{word} {value}"
    write: Callable[[float | None], str] = plain_number
    form: str = "~r"
    size: bool = False
    set_by: tuple[str, ...] = ()
    ticks: tuple[float, ...] = ()

    def at(self, value: float) -> str:
        """Return a place in words, e.g. ``"width 64"`` or ``"6.5 % density"``."""
        return self.phrase.format(word=self.word, value=self.write(value))

    def scaled(self, values: Sequence[float]) -> Axis:
        """Return this axis with the scale that fits ``values``."""
        positive = min(values, default=0) > 0
        wide = positive and max(values) >= SPAN * min(values)
        return replace(self, scale=(self.scale or ("log" if wide else "linear")) if positive else "linear")

    def middle(self, one: float, other: float) -> float:
        """Return the place halfway between two on the scale of this axis."""
        return (one + other) / 2 if self.scale in (None, "linear") else exp((log(one) + log(other)) / 2)


AXES: Registry[Axis] = Registry("axis")
"""Axes by column, or by the last part of a swept path."""


def axis_for(column: str) -> Axis:
    """Return the axis that reads ``column``: the registered one of its name or last part, or one in plain words."""
    last = column.rpartition(".")[2]
    plain = Axis(last.replace("_", " "), size=last in ("kept", "weights", "parameters"))
    known = next((AXES.get(name) for name in (column, last) if name in AXES), plain)
    return replace(known, title=known.title or known.word, column=column)


def is_simple(name: Any, swept: Mapping[str, Sequence[Any]]) -> bool:
    """Whether an axis can be told by what every table has and what is swept."""
    paths = [path for path in swept if path != "seed"]
    return isinstance(name, str) and (name in (*COLUMNS, *paths) or _by_last_part(name, paths) is not None)


def _by_last_part(name: Any, paths: Iterable[str]) -> str | None:
    """Return the one path whose last part is ``name``."""
    found = [path for path in paths if path.rpartition(".")[2] == name]
    return found[0] if len(found) == 1 else None


def check_axis(name: Any, swept: Mapping[str, Sequence[Any]], measured: Mapping[str, str], open_ended: bool) -> str:
    """Return the column that ``name`` means: one of a table's, or a swept path, or the last part of a single one.

    Args:
        name: as a study gives it.
        swept: values by dotted path.
        measured: types of measured columns in words (``float``, ``int``, ``str``).
        open_ended: whether there may be more columns, of probes that do not state theirs.

    Raises:
        SpecError: there is none such, or its values are no numbers.
    """
    paths = {path: values for path, values in swept.items() if path != "seed"}
    numbers = [column for column, kind in measured.items() if kind in NUMBERS]
    made = [name for name in MADE if name not in COLUMNS and set(sources(name)) <= set(numbers)]
    known = [*paths, *COLUMNS, *numbers, *made]
    column = name if name in known else _by_last_part(name, paths) or name
    if not isinstance(column, str) or not (column in known or open_ended):
        near = suggest(str(name), [*known, *(path.rpartition(".")[2] for path in paths)])
        raise SpecError(f"axis {name!r} is neither swept nor measured here{near} (known: {', '.join(known)})")
    strange = [value for value in paths.get(column, ()) if as_number(value) is None]
    if strange:
        raise SpecError(f"axis {name!r}: its values must be numbers (or lists of one), got {strange[0]!r}")
    return column


def as_number(value: Any) -> float | None:
    """Return a number, or the one in a list or in its text, as a float; None for anything else.

    >>> [as_number(value) for value in (3, [64], "[64]", "[300, 100]", True, None)]
    [3.0, 64.0, 64.0, None, None, None]
    """
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        value = value[1:-1]
        return float(value) if value.replace(".", "", 1).isdigit() else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def numbers_of(frame: pl.DataFrame, column: str) -> pl.Series:
    """Return a column as numbers, null where there is none."""
    return pl.Series(column, [as_number(value) for value in frame[column].to_list()], dtype=pl.Float64)


def fitting_axis(frame: pl.DataFrame, named: str, sweeps: Iterable[str]) -> Axis:
    """Return the axis of a study's table: the named one, or where that is density and nothing was pruned, what varies.

    That is the swept numbers with the most values, or else the step of the chain where several were measured.

    Args:
        frame: the table; rows that are not there yet count too, with their coordinates.
        named: the column that the study names.
        sweeps: the columns with swept values.
    """
    if named != "density" or frame.is_empty() or frame["level"].max() or frame["density"].drop_nulls().n_unique() > 1:
        return axis_for(named)
    counts = {name: numbers.n_unique() for name in sweeps if not (numbers := numbers_of(frame, name)).null_count()}
    most = max(counts, key=lambda name: counts[name], default=None)
    if most is not None and counts[most] > 1:
        return axis_for(most)
    return axis_for("step" if "step" in frame.columns and frame["step"].n_unique() > 1 else named)
