"""Tables: an arm level by level, as a frame and for the terminal; and tables as CSV, JSON or Parquet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.table import Table

from overparam.errors import SpecError
from overparam.files import write_file
from overparam.registry import suggest
from overparam.report.arms import Arm
from overparam.report.phases import ArmPhases
from overparam.report.statistics import FEW, spread, spread_is
from overparam.report.words import count, density, number, percent, points

FORMATS = ("csv", "json", "parquet")
SHOWN = {
    "train_accuracy": "train (noisy)",
    "train_accuracy_clean": "train (clean)",
    "test_accuracy": "test",
    "test_soft_error": "soft error",
    "learning_distance": "distance",
    "density_of_all": "of all parameters",
}


def summary(arm: Arm, columns: Sequence[str]) -> pl.DataFrame:
    """Return one row per level: density, kept weights, ``n`` seeds, each column's mean and spread.

    Every measured column of ``columns`` gives ``<column>``, ``<column>_low`` and ``<column>_high``: the range of the
    seeds, or from :data:`~overparam.report.statistics.FEW` seeds on the 95 % interval of the mean; null with one seed.
    Accuracies stay in [0, 1].
    """
    columns = [column for column in columns if arm.has(column)]
    values = [pl.col(column).cast(pl.Float64).fill_nan(None).drop_nulls() for column in columns]
    over_seeds = arm.frame.group_by("level").agg(values)
    mean = arm.mean().select("level", "density", "n", *(["kept"] if arm.has("kept") else []))
    rows = []
    for row in mean.join(over_seeds, on="level").sort("level").iter_rows(named=True):
        kept = row.get("kept")
        cells = {name: row[name] for name in ("level", "density", "n")} | {"kept": kept and round(kept)}
        for column in columns:
            found = spread(row[column], share="accuracy" in column)
            cells |= {column: found.mean, f"{column}_low": found.low, f"{column}_high": found.high}
        rows.append(cells)
    return pl.DataFrame(rows, infer_schema_length=None)


def level_table(arm: Arm, found: ArmPhases | None = None) -> pl.DataFrame:
    """Return the compact table of an arm: level, density, weights, seeds, accuracies, distance, phase.

    Accuracies lie in [0, 1]; ``test_accuracy_low`` and ``_high`` are as in :func:`summary`. Columns that were not
    measured are left out; there is a phase only where ``found`` has some.
    """
    table = summary(arm, list(SHOWN))
    keep = ["level", "density", "kept", "n"]
    for column in SHOWN:
        keep += [column] if column in table.columns else []
        keep += [f"{column}_low", f"{column}_high"] if column == "test_accuracy" and arm.has(column) else []
    table = table.select(name for name in keep if name in table.columns)
    if found is None or not found.phases:
        return table
    phase = [phase_at(found, value) for value in table["density"].to_list()]
    return table.with_columns(pl.Series("phase", phase, dtype=pl.String))


def phase_at(found: ArmPhases, at: float) -> str:
    """Return the phase that a density lies in, ``""`` without phases; a border belongs to the phase it ends."""
    return next((phase.name for phase in found.phases if at >= phase.end - 1e-12), "")


def around(row: Mapping[str, Any], column: str) -> str:
    """Write what a row of :func:`summary` shows around a mean in [0, 1]: its interval or, with few seeds, their range.

    >>> around({"n": 2, "test_accuracy": 0.4, "test_accuracy_low": 0.21, "test_accuracy_high": 0.6}, "test_accuracy")
    ' 21.0–60.0'
    """
    mean, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
    if low is None or high is None:
        return ""
    return f" {points(low)}–{points(high)}" if row["n"] < FEW else f" ± {points(max(high - mean, mean - low))}"


def rich_table(arm: Arm, found: ArmPhases | None = None) -> Table:
    """Return the compact table of an arm for the terminal; trough and peak are marked in words."""
    table = level_table(arm, found)
    phased = "phase" in table.columns
    told = "; trough: the worst before the best" if phased else ""
    shown = Table(
        title=arm.label,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption=f"means over {count(len(arm.seeds), 'seed')}; beside test: {spread_is(len(arm.seeds))}{told}",
    )
    wide = ("test_soft_error", "density_of_all")  # the others fit 80 characters
    columns = [name for name in SHOWN if name in table.columns and name not in wide]
    for head in ["level", "density", *(SHOWN[name].replace(" (", "\n(") for name in columns)]:
        shown.add_column(head, justify="right", no_wrap=True)
    if phased:
        shown.add_column("phase", no_wrap=True)
    marks = turn_marks(found)
    for row in table.iter_rows(named=True):
        cells = [str(row["level"]), density(row["density"])]
        for name in columns:
            cells.append(number(row[name]) if name == "learning_distance" else percent(row[name]))
            if name == "test_accuracy":
                cells[-1] += around(row, name)
        if phased:
            mark = marks.get(row["level"])
            cells.append(mark or row["phase"])
        shown.add_row(*cells, style="bold" if row["level"] in marks else None)
    return shown


def turn_marks(found: ArmPhases | None) -> dict[int, str]:
    """Return which levels are the trough and the peak of a curve that falls, rises and falls again."""
    if found is None or not found.phases or found.shape.trough is None or found.shape.peak is None:
        return {}
    return {found.shape.trough.level: "trough", found.shape.peak.level: "peak"}


def export(frame: pl.DataFrame, form: str = "csv", path: str | Path | None = None) -> str | None:
    """Write a table as ``"csv"``, ``"json"`` (a list of rows) or ``"parquet"``; return text without a path.

    Values that are not numbers (NaN) become empty (CSV) or null (JSON). Raises :class:`SpecError` for another
    format, for Parquet, which is no text, without a path, and for a file that cannot be written.
    """
    if form not in FORMATS:
        raise SpecError(f"format {form!r} is unknown{suggest(form, FORMATS)} (known: {', '.join(FORMATS)})")
    if form == "parquet":
        if path is None:
            raise SpecError(
                "format 'parquet' is binary and needs a file to be written to; name one, or use csv or json"
            )
        content = io.BytesIO()
        frame.write_parquet(content)
        write_file(path, content.getvalue())
        return None
    frame = frame.fill_nan(None)
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    if form == "csv" and nested:
        frame = frame.with_columns(pl.Series(name, [str(value) for value in frame[name].to_list()]) for name in nested)
    text = frame.write_csv() if form == "csv" else frame.write_json() + "\n"
    if path is None:
        return text
    write_file(path, text)
    return None
