"""Learning curves: what was measured while networks trained, level by level, on the clean and the noisy part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from overparam.errors import SpecError
from overparam.report.arms import Arm
from overparam.report.statistics import spread

LEVELS = 4
"""Most levels that are drawn of an arm: the first, the last, and some between them."""

POINTS = 60
"""Most points that are drawn of a line; of more, every so many."""


@dataclass(frozen=True)
class Learned:
    """One chart of learning curves.

    Attributes:
        metric: what is measured.
        name: of its file.
        title: above it.
        series: columns of the curves, with their names in the legend.
        share: whether they are shares of examples.
    """

    metric: str
    name: str
    title: str
    series: Mapping[str, str]
    share: bool


PARTS = {"train_{}_clean_part": "train, right labels", "train_{}_noisy_part": "train, wrong labels"}


def _learned(metric: str, title: str, **more: str) -> Learned:
    usual = {"test_{}": "test", "validation_{}": "validation", "train_{}": "train", **PARTS}
    series = {name.format(metric): label for name, label in usual.items()}
    return Learned(metric, f"learning-{metric.replace('_', '-')}", title, {**series, **more}, metric != "loss")


LEARNED = (
    _learned("accuracy", "Accuracy while training"),
    _learned("soft_error", "Soft error while training"),
    _learned("loss", "Loss while training", loss="train (batches)"),
)


def measured(evaluated: pl.DataFrame) -> list[Learned]:
    """Return the charts that curves have columns for: parts where there is label noise, validation without a test."""
    there = {name for name in evaluated.columns if evaluated[name].count()}
    there -= {name for name in there if name.startswith("validation_") and f"test_{name[11:]}" in there}
    found = []
    for each in LEARNED:
        series = {name: label for name, label in each.series.items() if name in there}
        noisy = any(name.endswith("_noisy_part") for name in series)
        series = {name: label for name, label in series.items() if noisy or not name.endswith("_part")}
        if series:
            found.append(replace(each, series=series))
    return found


def learning(
    evaluated: pl.DataFrame,
    arm: Arm,
    series: Mapping[str, str],
    *,
    levels: Sequence[Any] | None = None,
    smooth: int = 1,
) -> pl.DataFrame:
    """Return the learning curves of an arm, a row for each level, series, seed and iteration.

    Args:
        evaluated: the curves of a study, a row per checkpoint and evaluated iteration.
        arm: of which arm; its levels (places on its axis) are those of its rows.
        series: columns that are wanted, and what they are called.
        levels: which levels; None: :data:`LEVELS` of them, from the first to the last that was trained.
        smooth: over how many neighbouring points of a seed's line the mean is taken; 1: as measured.

    Returns:
        ``place`` (in words), ``series``, ``seed``, ``iteration``, ``value``.

    Raises:
        SpecError: ``smooth`` is no whole number from 1 on.
    """
    if isinstance(smooth, bool) or not isinstance(smooth, int) or smooth < 1:
        raise SpecError(f"smooth must be a whole number of points, 1 or more, got {smooth!r}")
    rows = arm.every if arm.every is not None else arm.frame
    keys = rows.select("chain", "step", pl.col(arm.key).alias("place"))
    lines = evaluated.select("seed", "chain", "step", "iteration", *series).join(keys, on=["chain", "step"])
    chosen = _spaced(arm, set(lines["place"].to_list())) if levels is None else list(levels)
    long = (
        lines.filter(pl.col("place").is_in(chosen))
        .unpivot(list(series), index=["place", "seed", "iteration"], variable_name="series", value_name="value")
        .filter(pl.col("value").is_not_null())
        .sort("iteration")
    )
    value = pl.col("value").cast(pl.Float64)
    if smooth > 1:
        value = value.rolling_mean(smooth, min_samples=1, center=True).over("place", "series", "seed")
    told = {place: arm.axis.at(at) for place, at in _positions(arm) if place in chosen}
    words = pl.col("place").replace_strict(told, return_dtype=pl.String)
    named = pl.col("series").replace_strict({name: legend(label, smooth) for name, label in series.items()})
    order = pl.col("place").replace_strict({place: n for n, place in enumerate(chosen)}, return_dtype=pl.Int64)
    made = long.with_columns(value.round_sig_figs(6), order.alias("order"), words, named)
    return made.sort("order", "series", "seed", "iteration").select("place", "series", "seed", "iteration", "value")


def legend(label: str, smooth: int) -> str:
    """Return what a line is called, and how it was smoothed.

    >>> legend("test", 1), legend("test", 5)
    ('test', 'test, mean of 5 points')
    """
    return label if smooth == 1 else f"{label}, mean of {smooth} points"


def averaged(lines: pl.DataFrame, share: bool) -> list[dict[str, Any]]:
    """Return the means over seeds of :func:`learning`, with what charts show around them, thinned to be drawn."""
    keys = ["place", "series", "iteration"]
    grouped = lines.group_by(keys, maintain_order=True).agg("value").filter(pl.col("iteration").is_in(thinned(lines)))
    rows = []
    for row in grouped.iter_rows(named=True):
        over = spread(row["value"], share=share)
        rows.append(
            {
                **{key: row[key] for key in keys},
                "mean": short(over.mean),
                "low": short(over.low),
                "high": short(over.high),
            }
        )
    return rows


def short(value: float | None) -> float | None:
    """Return a number with as many digits as a chart can show."""
    return None if value is None else float(f"{value:.5g}")


def thinned(lines: pl.DataFrame, points: int = POINTS) -> list[int]:
    """Return the iterations that are drawn: at most ``points`` of them, and the last one."""
    every = sorted(set(lines["iteration"].to_list()))
    return sorted({*every[:: -(-len(every) // points) or 1], *every[-1:]})


def _positions(arm: Arm) -> list[tuple[Any, float]]:
    means = arm.frame.group_by(arm.key).agg(pl.col(arm.axis.column).cast(pl.Float64).mean().alias("at"))
    return list(means.iter_rows())


def _spaced(arm: Arm, trained: set[Any]) -> list[Any]:
    places = [place for place in arm.places if place in trained]
    last = len(places) - 1
    return (
        [places[n] for n in sorted({round(last * share / (LEVELS - 1)) for share in range(LEVELS)})] if places else []
    )
