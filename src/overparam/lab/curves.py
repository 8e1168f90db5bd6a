"""Learning curves: rows as a training makes them, columns as they are stored, one table of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

HEAD = {"iteration": pl.Int64, "epoch": pl.Float64, "lr": pl.Float64, "loss": pl.Float64}
Columns = Mapping[str, Sequence[Any]]


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns, None where a row lacks one.

    >>> columns_of([{"iteration": 1, "loss": 0.5}, {"iteration": 2}])
    {'iteration': [1, 2], 'loss': [0.5, None]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def curve_table(parts: Sequence[tuple[Mapping[str, Any], Columns]], types: Mapping[str, Any]) -> pl.DataFrame:
    """Return one table of curves, each with the values that tell it from the others in front of every row.

    Args:
        parts: for each curve those values, and its columns.
        types: of the columns of those values, which the table has even where there is no curve.
    """
    numbers = dict.fromkeys(name for _, curve in parts for name in curve)
    known = {**types, **{name: HEAD.get(name, pl.Float64) for name in {**HEAD, **numbers}}}
    columns: dict[str, list[Any]] = {name: [] for name in known}
    for head, curve in parts:
        length = max(map(len, curve.values()), default=0)
        for name, values in columns.items():
            values += [head[name]] * length if name in types else curve.get(name, [None] * length)
    return pl.DataFrame(columns, known, strict=False)
