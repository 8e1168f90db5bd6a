"""Tables: an arm level by level, as a frame and for the terminal; and tables as CSV, JSON or Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich import box
from rich.table import Table

from overparam.errors import SpecError
from overparam.files import write_file
from overparam.registry import suggest
from overparam.report.arms import Arm
from overparam.report.phases import ArmPhases
from overparam.report.statistics import estimate
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

    Every measured column of ``columns`` gives ``<column>``, ``<column>_min`` and ``<column>_max`` (over the
    seeds) and ``<column>_low`` and ``<column>_high`` (95 % t interval of the mean; null with one seed).
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
            found = estimate(row[column])
            cells |= {column: found.mean, f"{column}_low": found.low, f"{column}_high": found.high}
            cells |= {f"{column}_min": min(row[column], default=None), f"{column}_max": max(row[column], default=None)}
        rows.append(cells)
    return pl.DataFrame(rows, infer_schema_length=None)


def level_table(arm: Arm, found: ArmPhases | None = None) -> pl.DataFrame:
    """Return the compact table of an arm: level, density, weights, seeds, accuracies, distance, phase.

    Accuracies lie in [0, 1]; ``test_accuracy_low`` and ``_high`` are the 95 % t interval over seeds (null
    with one). Columns that were not measured are left out; without ``found`` there is no phase.
    """
    table = summary(arm, list(SHOWN))
    keep = ["level", "density", "kept", "n"]
    for column in SHOWN:
        keep += [column] if column in table.columns else []
        keep += [f"{column}_low", f"{column}_high"] if column == "test_accuracy" and arm.has(column) else []
    table = table.select(name for name in keep if name in table.columns)
    if found is None:
        return table
    phase = [phase_at(found, value) for value in table["density"].to_list()]
    return table.with_columns(pl.Series("phase", phase, dtype=pl.String))


def phase_at(found: ArmPhases, at: float) -> str:
    """Return the name of the phase that a density lies in; a border belongs to the phase it ends."""
    names = [phase.name for phase in found.phases if at >= phase.end - 1e-12]
    return names[0] if names else (found.phases[-1].name if found.phases else "")


def rich_table(arm: Arm, found: ArmPhases | None = None) -> Table:
    """Return the compact table of an arm for the terminal; worst and best level are marked in words."""
    table = level_table(arm, found)
    shown = Table(
        title=arm.label,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption=f"means over {count(len(arm.seeds), 'seed')}; ± is the 95 % interval of the test mean",
    )
    wide = ("test_soft_error", "density_of_all")  # the others fit 80 characters
    columns = [name for name in SHOWN if name in table.columns and name not in wide]
    for head in ["level", "density", *(SHOWN[name].replace(" (", "\n(") for name in columns)]:
        shown.add_column(head, justify="right", no_wrap=True)
    if found:
        shown.add_column("phase", no_wrap=True)
    marks = {}
    if found and found.shape.trough and found.shape.peak:
        marks = {found.shape.trough.level: " (worst)", found.shape.peak.level: " (best)"}
    for row in table.iter_rows(named=True):
        cells = [str(row["level"]), density(row["density"])]
        for name in columns:
            cells.append(number(row[name]) if name == "learning_distance" else percent(row[name]))
            if name == "test_accuracy" and row[f"{name}_low"] is not None:
                cells[-1] += f" ± {points(row[f'{name}_high'] - row[name])}"
        if found:
            cells.append(row["phase"] + marks.get(row["level"], ""))
        shown.add_row(*cells, style="bold" if row["level"] in marks else None)
    return shown


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
