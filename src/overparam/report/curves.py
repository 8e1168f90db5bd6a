"""The one way from a results table to lines with bands: means over seeds, what is shown around them, and how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from overparam.report.arms import Arm, arms
from overparam.report.axes import DENSITY
from overparam.report.axis import Axis
from overparam.report.statistics import CONFIDENCE, FEW, t_quantile


def curves(
    frame: pl.DataFrame, x: Axis | str = DENSITY, y: Sequence[str] = ("test_accuracy",), by: Sequence[str] | None = None
) -> pl.DataFrame:
    """Return lines with bands: a row for each line and place on ``x``.

    Args:
        frame: the results table of a study, one row per checkpoint.
        x: an axis, or a column: density, a swept path, anything measured.
        y: columns that are drawn.
        by: columns that tell lines from each other; None: variant, sweeps and traits, as arms.

    Returns:
        ``line`` (its label), the columns of :func:`curve`.

    Raises:
        DataError: the table lacks a column, or that of ``x`` holds no numbers.
    """
    found = arms(frame, x, by)
    lines = [curve(arm, y).select(pl.lit(arm.label).alias("line"), pl.all()) for arm in found]
    return pl.concat(lines, how="diagonal_relaxed") if lines else pl.DataFrame(schema={"line": pl.String})


def curve(arm: Arm, y: Sequence[str], *, every: bool = False) -> pl.DataFrame:
    """Return the curve of one arm: a row for each place on its axis, in the axis's order.

    Columns are the key of the arm's places, that of its axis, ``kept`` weights, ``n`` seeds, and for each measured
    column of ``y`` its mean, ``<column>_low`` and ``<column>_high``: the range of the seeds, or from
    :data:`~overparam.report.statistics.FEW` seeds on the 95 % interval of the mean; null with one seed. Accuracies stay
    in [0, 1].

    Args:
        arm: of which arm.
        y: columns that are drawn.
        every: whether every measured step of the chains has a row, as in tables, or the last at each place.
    """
    y = [column for column in dict.fromkeys(y) if arm.has(column) and column != arm.axis.column]
    every = every and arm.every is not None
    keys = [arm.key, *(["step"] if every else [])]
    frame = arm.every if every and arm.every is not None else arm.frame
    counted = [part for column in y for part in _counted(column)]
    over_seeds = frame.group_by(keys).agg(pl.col("kind").first() if "kind" in frame.columns else [], *counted)
    over_seeds = over_seeds.with_columns(end for column in y for end in _ends(over_seeds, column))
    heads = list(dict.fromkeys([*keys, arm.axis.column, *(["kept"] if arm.has("kept") else []), "n"]))
    means = arm.mean(every).select(name for name in heads if name not in y or name in keys)
    if "kept" in means.columns and arm.key != "kept":
        means = means.with_columns(pl.col("kept").round().cast(pl.Int64))
    joined = means.join(over_seeds, on=keys, how="left", maintain_order="left")
    return joined.drop(f"{column}_{part}" for column in y for part in ("n", "std"))


def _counted(column: str) -> list[pl.Expr]:
    """Return what is to be known of a column's seeds: mean, lowest and highest, count, and standard deviation."""
    value = pl.col(column).cast(pl.Float64)
    value = value.filter(value.is_finite())
    parts = {"": value.mean(), "_low": value.min(), "_high": value.max(), "_n": value.len(), "_std": value.std()}
    return [expression.alias(f"{column}{part}") for part, expression in parts.items()]


def _ends(counted: pl.DataFrame, column: str) -> list[pl.Series]:
    """Return both ends of what :func:`overparam.report.statistics.spread` shows, from what :func:`_counted` counts."""
    mean, low, high, n, deviation = (
        counted[f"{column}{part}"].cast(pl.Float64).to_numpy() for part in ("", "_low", "_high", "_n", "_std")
    )
    factor = [t_quantile((1 + CONFIDENCE) / 2, int(seeds) - 1) if seeds >= FEW else 0.0 for seeds in n]
    half = np.asarray(factor) * deviation / np.sqrt(np.maximum(n, 1))
    wide = [mean - half, mean + half]
    if "accuracy" in column:
        wide = [np.clip(end, 0, 1) for end in wide]
    shown = [
        np.where(n < 2, np.nan, np.where(n < FEW, narrow, end)) for narrow, end in zip((low, high), wide, strict=True)
    ]
    return [
        pl.Series(f"{column}{part}", end).fill_nan(None) for part, end in zip(("_low", "_high"), shown, strict=True)
    ]


def place_of(arm: Arm, row: Mapping[str, Any]) -> str:
    """Return a place in words: its value on the axis, weights and level."""
    kept = "" if row.get("kept") is None or arm.axis.column == "kept" else f", {row['kept']:,} weights"
    level = f" (level {row['level']})" if arm.key == "level" else ""
    return f"{arm.axis.write(row[arm.axis.column])}{kept}{level}"
