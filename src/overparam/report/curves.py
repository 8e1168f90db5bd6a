"""The one way from a results table to lines with bands: means over seeds, what is shown around them, and how many."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from overparam.report.arms import Arm, arms
from overparam.report.axes import DENSITY
from overparam.report.axis import Axis
from overparam.report.statistics import spread


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
    y = [column for column in y if arm.has(column) and column != arm.axis.column]
    every = every and arm.every is not None
    keys = [arm.key, *(["step"] if every else [])]
    values = [pl.col(column).cast(pl.Float64).fill_nan(None).drop_nulls() for column in y]
    frame = arm.every if every and arm.every is not None else arm.frame
    over_seeds = frame.group_by(keys).agg(pl.col("kind").first() if "kind" in frame.columns else [], *values)
    heads = list(dict.fromkeys([*keys, arm.axis.column, *(["kept"] if arm.has("kept") else []), "n"]))
    means, rows = arm.mean(every).select(heads), []
    if "kept" in heads:
        means = means.with_columns(pl.col("kept").round().cast(pl.Int64))
    for row in means.join(over_seeds, on=keys, how="left", maintain_order="left").iter_rows(named=True):
        cells = {name: value for name, value in row.items() if name not in y}
        for column in y:
            found = spread(row[column], share="accuracy" in column)
            cells |= {column: found.mean, f"{column}_low": found.low, f"{column}_high": found.high}
        rows.append(cells)
    return pl.DataFrame(rows, infer_schema_length=None)
