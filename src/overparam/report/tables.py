"""Tables of an arm, place by place: as a frame, in words, for the terminal; and tables as CSV, JSON or Parquet."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from rich import box
from rich.table import Table as RichTable

from overparam.errors import SpecError
from overparam.files import write_file
from overparam.registry import suggest
from overparam.report.arms import Arm
from overparam.report.curves import curve
from overparam.report.measure import Measure, measure_of
from overparam.report.panels import noisy, other_columns
from overparam.report.sections import Column, Section, Table
from overparam.report.statistics import FEW, spread_is
from overparam.report.words import count, number, percent, plain_number, points

FORMATS = ("csv", "json", "parquet")
SHOWN = {
    "train_accuracy": "train (noisy)",
    "train_accuracy_clean": "train (clean)",
    "test_accuracy": "test",
    "test_soft_error": "soft error",
    "train_loss": "train loss",
    "test_loss": "test loss",
    "test_bits": "perplexity",
    "test_r2": "R²",
    "learning_distance": "distance",
    "density_of_all": "of all parameters",
}
WIDE = ("test_soft_error", "density_of_all")
"""Columns that a terminal of 80 characters has no room for."""
LOSSES = ("train_loss", "test_loss")
"""Columns that a table has where there are no accuracies."""


@dataclass(frozen=True)
class Extra:
    """A further column of a table: a word for each place, by the value of the arm's key; ``strong`` ones stand out."""

    head: str
    words: Mapping[Any, str]
    strong: frozenset[Any] = frozenset()
    note: str = ""


def level_table(arm: Arm) -> pl.DataFrame:
    """Return the compact table of an arm: a row for each measured step, or place on its axis where that is the same.

    Columns are the place, ``kept`` weights, ``n`` seeds, accuracies in [0, 1], the distance, and numbers of probes of
    one's own; those not measured are left out. ``test_accuracy_low`` and ``_high`` are as in
    :func:`overparam.report.curves.curve`.
    """
    shown = _columns(arm)
    table = curve(arm, shown, every=True)
    ends = [f"{name}_{end}" for name in shown if name != measure_of([arm]).column for end in ("low", "high")]
    kind = [] if arm.every is not None or arm.key == "step" else ["kind"]
    return table.drop(*ends, *kind, strict=False)


def words_table(arm: Arm, extra: Extra | None = None, finding: str = "") -> Table:
    """Return :func:`level_table` in words."""
    table = level_table(arm)
    measured = [name for name in _columns(arm) if name in table.columns]
    heads = {name: SHOWN.get(name, name.replace("_", " ")) for name in measured}
    if not noisy(arm):
        measured = [name for name in measured if name != "train_accuracy_clean"]
        heads = {name: head.removesuffix(" (noisy)") for name, head in heads.items()}
    columns = [
        *_place_columns(arm, table),
        *(Column(heads[name], wide=name in WIDE or name not in SHOWN) for name in measured),
        *([Column(extra.head, words=True)] if extra else []),
    ]
    of = measure_of([arm])
    rows = [
        [
            *_place_cells(arm, row),
            *(_cell(row, name, of) for name in measured),
            *([_word(extra, arm, row)] if extra else []),
        ]
        for row in table.iter_rows(named=True)
    ]
    strong = [place for place, row in enumerate(table.iter_rows(named=True)) if extra and row[arm.key] in extra.strong]
    note = f"Means over {count(len(arm.seeds), 'seed')}; beside {SHOWN[of.column]}: {spread_is(len(arm.seeds))}"
    note += f"; {extra.note}" if extra and extra.note else ""
    return Table(columns, rows, arm.label, f"{note}.", frozenset(strong), "levels", finding)


def _columns(arm: Arm) -> list[str]:
    """Return the columns that are shown of an arm, as far as it has them."""
    usual = [name for name in SHOWN if name not in LOSSES or not arm.has("test_accuracy")]
    return list(dict.fromkeys([*usual, *other_columns(arm)]))


def _word(extra: Extra, arm: Arm, row: Mapping[str, Any]) -> str:
    return extra.words.get(row[arm.key], "–")


def _place_columns(arm: Arm, table: pl.DataFrame) -> list[Column]:
    """Return the heads of what :func:`_place_cells` tells."""
    return [
        *([Column("level")] if arm.key == "level" else []),
        *([Column("step")] if "step" in table.columns else []),
        *([Column("kind", words=True)] if "kind" in table.columns else []),
        *([Column(arm.axis.word)] if arm.axis.column != "step" else []),
        *(
            [Column("weights", wide=arm.key == "level")]
            if "kept" in table.columns and arm.axis.column != "kept"
            else []
        ),
        Column("seeds", wide=True),
    ]


def _place_cells(arm: Arm, row: Mapping[str, Any]) -> list[str]:
    return [
        *([str(row["level"])] if arm.key == "level" else []),
        *([str(row["step"])] if "step" in row else []),
        *([row["kind"]] if "kind" in row else []),
        *([arm.axis.write(row[arm.axis.column])] if arm.axis.column != "step" else []),
        *([plain_number(row["kept"])] if "kept" in row and arm.axis.column != "kept" else []),
        str(row["n"]),
    ]


def _cell(row: Mapping[str, Any], name: str, of: Measure) -> str:
    if name not in SHOWN:
        return plain_number(row[name])
    if name == "test_bits":
        return plain_number(None if row[name] is None else 2 ** row[name])
    if name in ("learning_distance", *LOSSES, "test_r2"):
        text = number(row[name], 2 if name == "learning_distance" else 3)
    else:
        text = percent(row[name])
    return text + (around(row, name, of.change) if name == of.column and f"{name}_low" in row else "")


def around(row: Mapping[str, Any], column: str, write: Callable[[float | None], str] = points) -> str:
    """Write what a row of a curve shows around a mean in [0, 1]: its interval or, with few seeds, their range.

    >>> around({"n": 2, "test_accuracy": 0.4, "test_accuracy_low": 0.21, "test_accuracy_high": 0.6}, "test_accuracy")
    ' 21.0–60.0'
    """
    mean, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
    if low is None or high is None:
        return ""
    return f" {write(low)}–{write(high)}" if row["n"] < FEW else f" ± {write(max(high - mean, mean - low))}"


def rich_table(table: Table) -> RichTable:
    """Return a table for the terminal, without its wide columns."""
    shown = RichTable(title=table.title, caption=table.note, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    narrow = [place for place, column in enumerate(table.columns) if not column.wide]
    for column in (table.columns[place] for place in narrow):
        justify: Literal["left", "right"] = "left" if column.words else "right"
        shown.add_column(column.head.replace(" (", "\n("), justify=justify, no_wrap=table.look != "compared")
    between = "\n" if table.look == "compared" else " "  # many arms beside each other
    for position, row in enumerate(table.rows):
        cells = [cell if isinstance(cell, str) else between.join(cell) for cell in row]
        shown.add_row(*(cells[place] for place in narrow), style="bold" if position in table.strong else None)
    return shown


def export(frame: pl.DataFrame, form: str = "csv", path: str | Path | None = None) -> str | None:
    """Write a table as ``"csv"``, ``"json"`` (a list of rows) or ``"parquet"``; return text without a path.

    Values that are not numbers (NaN) become empty (CSV) or null (JSON). In CSV, which people open in spreadsheets, a
    text that one would run as a formula (it begins with ``=``, ``+``, ``-``, ``@``, a tab or a line's end) has an
    apostrophe before it; JSON and Parquet have it as it is. Raises :class:`SpecError` for another
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
    text = inert(frame).write_csv() if form == "csv" else frame.write_json() + "\n"
    if path is None:
        return text
    write_file(path, text)
    return None


def compared_of(sections: Sequence[Section]) -> list[Table]:
    """Return the tables of a page that set arms against each other."""
    return [table for section in sections for table in section.tables if table.look == "compared"]


def inert(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose texts, heads among them, no spreadsheet runs as a formula."""
    formula = r"^([=+\-@\t\r\n])"
    safe = frame.with_columns(pl.col(pl.String).str.replace(formula, "'${1}"))
    return safe.rename({name: f"'{name}" for name in frame.columns if re.match(formula, name)})


def tables_of(sections: Sequence[Section]) -> list[Table]:
    """Return the tables of a page that have a row for each measured place."""
    return [table for section in sections for table in section.tables if table.look == "levels"]


def printed(sections: Sequence[Section]) -> Iterator[RichTable | str]:
    """Yield what of a page commands print: arms against each other, each arm by itself, and the claims tested."""
    for table in [*compared_of(sections), *tables_of(sections)]:
        yield rich_table(table)
        yield table.finding
    for verdict in (verdict for section in sections for verdict in section.verdicts):
        if verdict.verdict != "not tested":
            yield f"{verdict.id} {verdict.verdict}: {verdict.sentence}"
