"""Arms: the rows of a results table that differ in nothing but the seed, and the curve of their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from overparam.errors import DataError
from overparam.report.words import percent

# What a row says about its place in a study or measures on its checkpoint; a dotted column that begins with
# one of these words is a detail of it (one layer's density, say) and no sweep.
MEASURED = frozenset(
    {
        *("study", "seed", "chain", "level", "step", "kind", "fingerprint", "density", "kept", "weights"),
        *("train_accuracy", "train_loss", "train_accuracy_clean", "train_loss_clean"),
        *("test_accuracy", "test_loss", "test_soft_error"),
        *("learning_distance", "learning_distance_kept", "learning_distance_pruned"),
        *("dead_units", "collapsed_layers", "parameters", "density_of_all"),
        *(
            "seconds",
            "multiply_adds",
            "multiply_adds_effective",
            "peak_memory_bytes",
            "bytes",
            "noise_realised",
        ),
    }
)
TRAITS = ("dataset", "noise_rate", "criterion", "retraining")
REQUIRED = ("seed", "chain", "level", "density")
NOISE_RATE = "world.label_noise.rate"


@dataclass(frozen=True, eq=False)
class Arm:
    """One setting of a study, over its seeds.

    Args:
        label: what tells this arm from the others of the study, e.g. ``"random, 20 % label noise"``.
        values: the columns that identify it (variant, sweep columns) and its traits (dataset, criterion, ...).
        frame: one row per seed and level, sorted; of several checkpoints at a level, the last.
    """

    label: str
    values: Mapping[str, Any]
    frame: pl.DataFrame

    @property
    def seeds(self) -> list[int]:
        """The seeds, sorted."""
        return sorted(self.frame["seed"].unique().to_list())

    @property
    def levels(self) -> list[int]:
        """The levels measured on at least one seed, sorted."""
        return sorted(self.frame["level"].unique().to_list())

    def has(self, column: str) -> bool:
        """Whether ``column`` was measured on at least one checkpoint."""
        return column in self.frame.columns and self.frame[column].count() > 0

    def at(self, column: str, level: int | None) -> dict[int, float | None]:
        """Return ``{seed: value of column at level}``; empty when column or level was not measured."""
        if level is None or not self.has(column):
            return {}
        rows = self.frame.filter(pl.col("level") == level)
        return dict(zip(rows["seed"].to_list(), rows[column].cast(pl.Float64).to_list(), strict=True))

    def table(self, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return ``column`` as (seeds, levels), NaN where a seed lacks a level or a value."""
        seeds, levels = self.seeds, self.levels
        values = np.full((len(seeds), len(levels)), np.nan)
        if self.has(column):
            rows = [seeds.index(seed) for seed in self.frame["seed"].to_list()]
            columns = [levels.index(level) for level in self.frame["level"].to_list()]
            values[rows, columns] = _floats(self.frame, column)
        return values

    def mean(self) -> pl.DataFrame:
        """Return the mean over seeds of every measured number, one row per level, with ``n`` seeds.

        Levels that fewer than half of the seeds reached are left out: a mean that jumps because seeds drop
        out would be read as a turning point.
        """
        numbers = [
            name
            for name, kind in self.frame.schema.items()
            if kind.is_numeric() and name not in ("seed", "chain", "level", "step", *self.values)
        ]
        means = [pl.col(name).cast(pl.Float64).fill_nan(None).mean() for name in numbers]
        grouped = self.frame.group_by("level").agg(pl.col("seed").n_unique().alias("n"), *means).sort("level")
        return grouped.filter(pl.col("n") * 2 >= len(self.seeds))


def arms(frame: pl.DataFrame) -> list[Arm]:
    """Split a results table into its arms, in order of first appearance.

    An arm is told by ``variant``, by the sweep columns (dotted paths, or ``network``, that stay constant
    along every chain) and by the traits ``dataset``, ``noise_rate``, ``criterion`` and ``retraining``, as far
    as there are such columns. Rows without a density or a level are left out. Raises :class:`DataError` when
    a needed column is missing.
    """
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise DataError(
            f"the results table lacks the column {', '.join(missing)}; give the frame of a study, "
            "with one row per checkpoint"
        )
    frame = frame.filter(pl.col("density").is_not_null() & pl.col("level").is_not_null())
    if frame.is_empty():
        return []
    sweeps = sweep_columns(frame)
    groups: dict[tuple[str, ...], tuple[dict[str, Any], list[pl.DataFrame]]] = {}
    for chain in frame.partition_by("chain", maintain_order=True):
        values = {name: _constant(chain[name]) for name in ["variant", *sweeps, *TRAITS] if name in frame.columns}
        groups.setdefault(tuple(str(value) for value in values.values()), (values, []))[1].append(chain)
    found = [values for values, _ in groups.values()]
    merged = [
        pl.concat(chains)
        .sort("seed", "level", *(["step"] if "step" in frame.columns else []))
        .unique(["seed", "level"], keep="last", maintain_order=True)
        for _, chains in groups.values()
    ]
    return [Arm(label, values, rows) for label, values, rows in zip(_labels(found, sweeps), found, merged, strict=True)]


def sweep_columns(frame: pl.DataFrame) -> list[str]:
    """Return the columns that hold swept values, in the table's order; ``seed`` is not among them."""
    named = [
        name
        for name in frame.columns
        if name not in TRAITS
        and (name == "network" or ("." in name and name.split(".")[0] not in MEASURED))
        and frame[name].n_unique() > 1
    ]
    if not named:
        return []
    changes = frame.group_by("chain").agg(pl.col(named).n_unique()).select(pl.col(named).max()).row(0)
    return [name for name, values in zip(named, changes, strict=True) if values == 1]


def _constant(column: pl.Series) -> Any:
    """Return the value of a trait of one chain; dense rows, made before any pruning, may not know it yet."""
    values = list({str(value): value for value in column.to_list() if value is not None}.values())
    told = [value for value in values if value != "none"] or values
    if len(told) > 1:
        return "+".join(str(value) for value in told)
    return told[0] if told else None


def _labels(arms_values: list[dict[str, Any]], sweeps: list[str]) -> list[str]:
    """Name each arm by as few of its values as tell it from the others."""
    if len(arms_values) == 1:
        return [_join(arms_values[0], ["variant", *TRAITS]) or "all runs"]
    differing = [name for name in arms_values[0] if len({str(values[name]) for values in arms_values}) > 1]
    chosen: list[str] = []
    for name in sorted(differing, key=lambda name: name in TRAITS):
        told = {tuple(str(values[other]) for other in chosen) for values in arms_values}
        if len(told) == len(arms_values):
            break
        finer = {tuple(str(values[other]) for other in [*chosen, name]) for values in arms_values}
        if len(finer) > len(told):
            chosen.append(name)
    return [_join(values, chosen) or "default" for values in arms_values]


def _join(values: Mapping[str, Any], names: list[str]) -> str:
    return ", ".join(text for name in names if name in values and (text := _say(name, values[name])))


def _say(name: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if name in ("noise_rate", NOISE_RATE):
        return f"{percent(float(value), 0)} label noise" if value else "no label noise"
    if name in ("variant", "dataset", "criterion", "retraining", "network"):
        return str(value)
    return f"{name.rsplit('.', 1)[-1]} {value:g}" if isinstance(value, float) else f"{name.rsplit('.', 1)[-1]} {value}"


def lacking(frame: pl.DataFrame, missing: int = 0) -> str | None:
    """Say how much of a study is there, e.g. "14 of 84 rows"; None when it is whole.

    A table alone tells that rows are lacking when a seed has no test accuracy at a level that others of its arm have,
    or an arm lacks a seed that other arms have. That a study was stopped after whole chains only its plan knows.

    Args:
        frame: the results table.
        missing: rows that the study plans and that are not in the table.
    """
    if missing:
        return f"{len(frame)} of {len(frame) + missing} rows"
    return gaps(arms(frame)) if not frame.is_empty() else None


def gaps(every: Sequence[Arm]) -> str | None:
    """Say how many rows of these arms have a test accuracy, if some seed lacks one that others have; else None."""
    measured = [arm for arm in every if arm.has("test_accuracy")]
    seeds = {seed for arm in measured for seed in arm.seeds}
    planned = sum(len(seeds) * len(arm.levels) for arm in measured)
    there = sum(int(np.isfinite(arm.table("test_accuracy")).sum()) for arm in measured)
    return f"{there} of {planned} rows" if there < planned else None


def _floats(rows: pl.DataFrame, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    if name not in rows.columns:
        return np.full(rows.height, np.nan)
    return rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
