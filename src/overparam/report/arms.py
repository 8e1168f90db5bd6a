"""Arms: the rows of a results table that differ in nothing but the seed and the place on the axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from overparam.errors import DataError
from overparam.report.axes import DENSITY
from overparam.report.axis import Axis, axis_for, numbers_of
from overparam.report.costs import MADE
from overparam.report.words import percent

# What a row says about its place in a study or measures on its checkpoint; a dotted column that begins with
# one of these words is a detail of it (one layer's density, say) and no sweep.
MEASURED = frozenset(
    {
        *("study", "seed", "chain", "level", "step", "kind", "fingerprint", "density", "kept", "weights"),
        *("train_accuracy", "train_loss", "train_accuracy_clean", "train_loss_clean"),
        *("train_soft_error", "train_soft_error_clean", "train_soft_error_clean_part", "train_soft_error_noisy_part"),
        *("train_accuracy_clean_part", "train_loss_clean_part", "train_accuracy_noisy_part", "train_loss_noisy_part"),
        *("test_accuracy", "test_loss", "test_soft_error"),
        *("learning_distance", "learning_distance_kept", "learning_distance_pruned"),
        *("epoch", "lr", "loss"),
        *("dead_units", "collapsed_layers", "parameters", "density_of_all", "stored_bits"),
        *("seconds", "seconds_before", "multiply_adds", "multiply_adds_effective", "peak_memory_bytes", "bytes"),
        *("noise_realised", *MADE),
    }
)
TRAITS = ("dataset", "noise_rate", "criterion", "retraining", "mask")
REQUIRED = ("seed", "chain", "level", "density")
NOISE_RATE = "world.label_noise.rate"


@dataclass(frozen=True, eq=False)
class Arm:
    """One setting of a study, over its seeds.

    Args:
        label: what tells this arm from the others of the study, e.g. ``"random, 20 % label noise"``.
        values: the columns that identify it (variant, sweep columns) and its traits (dataset, criterion, ...).
        frame: one row per seed and place, sorted; of several checkpoints at a place, the last.
        axis: what its curves are over.
        key: the column that tells places from each other in every seed: ``level`` or ``step`` where the axis runs along
            chains, else the swept column.
        every: one row per measured checkpoint, those of ``frame`` among them; None: there are no others.
    """

    label: str
    values: Mapping[str, Any]
    frame: pl.DataFrame
    axis: Axis = DENSITY
    key: str = "level"
    every: pl.DataFrame | None = None

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds, sorted."""
        return sorted(self.frame["seed"].unique().to_list())

    @cached_property
    def places(self) -> list[Any]:
        """The values of ``key`` that were measured on at least one seed, in the axis's order."""
        return sorted(self.frame[self.key].unique().to_list(), reverse=self.backwards)

    @property
    def backwards(self) -> bool:
        """Whether places run from the largest value of ``key`` to the smallest."""
        return self.axis.falling and self.key == self.axis.column

    @property
    def positions(self) -> list[float]:
        """The means over seeds on the axis, place by place."""
        return list(self.mean()[self.axis.column].to_list())

    def has(self, column: str) -> bool:
        """Whether ``column`` was measured on at least one checkpoint."""
        return column in self._measured

    @cached_property
    def _measured(self) -> frozenset[str]:
        counts = self.frame.select(pl.all().count())
        return frozenset(name for name in counts.columns if counts.item(0, name))

    def chosen_on(self, metric: str = "accuracy") -> str:
        """Return by which set places are chosen: ``validation`` if ``metric`` was measured everywhere, or ``test``."""
        column = f"validation_{metric}"
        return "validation" if self.has(column) and np.isfinite(self.table(column)).all() else "test"

    def at(self, column: str, place: Any) -> dict[int, float | None]:
        """Return ``{seed: value of column at a place}``; empty when column or place was not measured."""
        if place is None or not self.has(column):
            return {}
        if column not in self._columns:
            self._columns[column] = self.frame[column].cast(pl.Float64).to_list()
        seeds, values = self._seed_of_row, self._columns[column]
        return {seeds[row]: values[row] for row in self._rows_of_place.get(place, ())}

    def table(self, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return ``column`` as (seeds, places), NaN where a seed lacks a place or a value."""
        seeds, places = self.seeds, self.places
        values = np.full((len(seeds), len(places)), np.nan)
        if self.has(column):
            rows = [seeds.index(seed) for seed in self._seed_of_row]
            columns = [places.index(place) for place in self.frame[self.key].to_list()]
            values[rows, columns] = _floats(self.frame, column)
        return values

    @cached_property
    def _columns(self) -> dict[str, list[float | None]]:
        return {}

    @cached_property
    def _seed_of_row(self) -> list[int]:
        return self.frame["seed"].to_list()

    @cached_property
    def _rows_of_place(self) -> dict[Any, list[int]]:
        found: dict[Any, list[int]] = {}
        for row, place in enumerate(self.frame[self.key].to_list()):
            found.setdefault(place, []).append(row)
        return found

    def mean(self, every: bool = False) -> pl.DataFrame:
        """Return the mean over seeds of every measured number, one row per place, with ``n`` seeds.

        Places that fewer than half of the seeds reached are left out: a mean that jumps because seeds drop out would be
        read as a turning point.

        Args:
            every: whether to give every measured step of the chains a row, though several are at one place.
        """
        return self._mean_of_every if every and self.every is not None else self._mean

    @cached_property
    def _mean(self) -> pl.DataFrame:
        return self._mean_of(self.frame, [self.key])

    @cached_property
    def _mean_of_every(self) -> pl.DataFrame:
        assert self.every is not None
        return self._mean_of(self.every, [self.key, "step"])

    def _mean_of(self, frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
        names = {name for name, kind in frame.schema.items() if kind.is_numeric()}
        numbers = names - {"seed", "chain", "level", "step", *self.values, *keys} | {self.axis.column} - set(keys)
        means = [pl.col(name).cast(pl.Float64).fill_nan(None).mean() for name in sorted(numbers)]
        grouped = frame.group_by(keys).agg(pl.col("seed").n_unique().alias("n"), *means)
        grouped = grouped.sort(keys, descending=[self.backwards, *(False for _ in keys[1:])])
        return grouped.filter(pl.col("n") * 2 >= len(self.seeds))


def arms(frame: pl.DataFrame, axis: Axis | str = DENSITY, by: Sequence[str] | None = None) -> list[Arm]:
    """Split a results table into its arms, in order of first appearance.

    An arm is told by ``variant``, by the sweep columns (dotted paths, or ``network``, that stay constant along every
    chain) and by the traits ``dataset``, ``noise_rate``, ``criterion``, ``retraining`` and ``mask``, as far as they are
    columns and do not go with the axis. Where the axis is swept, every measured level and step of the chains is an arm
    of its own. Chains that prune once, and differ only in how much, are one arm, its levels counted by density.
    Rows without a density, a level or a place on the axis are left out.

    Args:
        frame: the results table, one row per checkpoint.
        axis: what curves are over; a column's name stands for its axis.
        by: the columns that tell arms from each other; None: as above.

    Raises:
        DataError: a needed column is missing, or that of the axis holds no numbers.
    """
    axis = axis_for(axis) if isinstance(axis, str) else axis
    missing = [name for name in (*REQUIRED, axis.column, *(by or ())) if name not in frame.columns]
    if missing:
        raise DataError(
            f"the results table lacks the column {', '.join(missing)}; give the frame of a study, "
            "with one row per checkpoint"
        )
    frame = _placed(frame, axis)
    if frame.is_empty():
        return []
    sweeps = sweep_columns(frame)
    amounts = _amounts(frame, axis, sweeps)
    key = _key(frame, axis.column, sweeps, "level" if amounts else axis.column)
    amounts = amounts if key == "level" else []
    stages = [] if key in ("level", "step") else _varying(frame, "level", "step")
    named = by if by is not None else [name for name in ("variant", *sweeps, *TRAITS) if name in frame.columns]
    named = [name for name in named if name not in amounts and not _goes_with(frame, name, key)]
    frame = _levelled(frame, amounts, named)
    groups: dict[tuple[str, ...], tuple[dict[str, Any], list[pl.DataFrame]]] = {}
    for chain in frame.partition_by("chain", *stages, maintain_order=True):
        values = {name: _constant(chain[name]) for name in [*named, *stages]}
        groups.setdefault(tuple(str(value) for value in values.values()), (values, []))[1].append(chain)
    found = [values for values, _ in groups.values()]
    whole = [pl.concat(chains) for _, chains in groups.values()]
    return [
        _arm(label, values, rows, axis, key)
        for label, values, rows in zip(labels(found, [*named, *stages]), found, whole, strict=True)
    ]


def _arm(label: str, values: Mapping[str, Any], rows: pl.DataFrame, axis: Axis, key: str) -> Arm:
    rows = rows.sort("seed", key, *(["step"] if "step" in rows.columns and key != "step" else []))
    last = rows.unique(["seed", key], keep="last", maintain_order=True)
    if "step" in rows.columns:  # chains that begin alike have the same first rows
        rows = rows.unique(["seed", key, "step"], keep="last", maintain_order=True)
    every = rows if len(last) < len(rows) and "step" in rows.columns else None
    return Arm(label, values, last, axis, key, every)


def _placed(frame: pl.DataFrame, axis: Axis) -> pl.DataFrame:
    """Return the rows that have a place on the axis, as a number."""
    frame = frame.filter(pl.col("density").is_not_null() & pl.col("level").is_not_null())
    if not frame.schema[axis.column].is_numeric():
        numbers = numbers_of(frame, axis.column)
        if numbers.null_count() > frame[axis.column].null_count():
            raise DataError(f"axis {axis.column!r}: the results have values that are no numbers; name another axis")
        frame = frame.with_columns(numbers)
    return frame.filter(pl.col(axis.column).is_not_null())


def _key(frame: pl.DataFrame, column: str, sweeps: Sequence[str], otherwise: str) -> str:
    """Return the column that tells the places of an axis from each other in each seed, and is the same in all."""
    if column in sweeps or column == "step":
        return column
    if "step" in frame.columns and frame.group_by("chain", "step").agg(pl.col(column).n_unique())[column].max() != 1:
        return column  # of curves, which have many rows for a step
    if "step" in frame.columns and frame.group_by("chain", "level").agg(pl.col(column).n_unique())[column].max() != 1:
        return "step"
    if frame[column].n_unique() == 1 or frame.group_by("chain").agg(pl.col(column).n_unique())[column].max() != 1:
        return "level"
    # What is measured may differ a little from seed to seed, so its places are those of the sweep that it goes with.
    numbers = [name for name in sweeps if not numbers_of(frame, name).null_count()]
    return min(numbers, key=lambda name: _scatter(frame, column, name), default=otherwise)


def _scatter(frame: pl.DataFrame, column: str, name: str) -> float:
    """Return how much ``column`` varies, on average, where ``name`` has one value."""
    spreads = frame.group_by(name).agg(pl.col(column).cast(pl.Float64).std(ddof=0))[column]
    return float(sum(spreads.to_list()) / len(spreads))


def _amounts(frame: pl.DataFrame, axis: Axis, sweeps: Sequence[str]) -> list[str]:
    """Return the swept columns by which alone chains of one level differ in their place on the axis."""
    found = [name for name in sweeps if name.rpartition(".")[2] in axis.set_by]
    levels = frame.filter(pl.any_horizontal(pl.col(found).is_not_null()), pl.col("level") > 0) if found else frame
    once = levels.group_by("chain").agg(pl.col("level").n_unique())["level"].max() == 1
    return found if once else []


def _levelled(frame: pl.DataFrame, amounts: Sequence[str], named: Sequence[str]) -> pl.DataFrame:
    """Return rows with levels that are counted by density over all chains that differ in ``amounts`` alone."""
    if not amounts:
        return frame
    places = pl.col("density").rank("dense", descending=True).over([*named, "seed"]).cast(pl.Int64) - 1
    swept = pl.any_horizontal(pl.col(amounts).is_not_null())
    return frame.with_columns(pl.when(swept).then(places).otherwise(pl.col("level")).alias("level"))


def _varying(frame: pl.DataFrame, *columns: str) -> list[str]:
    """Return those of ``columns`` that have several values in a chain."""
    there = [name for name in columns if name in frame.columns]
    counts = frame.group_by("chain").agg(pl.col(there).n_unique()).select(pl.col(there).max()).row(0)
    return [name for name, count in zip(there, counts, strict=True) if count > 1]


def _goes_with(frame: pl.DataFrame, name: str, key: str) -> bool:
    """Whether a swept ``key`` and another column tell the same."""
    if name == key:
        return True
    if key in ("level", "step"):
        return False
    pairs = frame.select(name, key).unique()
    return len(pairs) == pairs[name].n_unique() == pairs[key].n_unique() > 1


def sweep_columns(frame: pl.DataFrame) -> list[str]:
    """Return the columns that hold swept values, in the table's order; ``seed`` is not among them."""
    named = [
        name
        for name in frame.columns
        if name not in TRAITS
        and (name == "network" or ("." in name and name.split(".")[0] not in MEASURED))
        and frame[name].n_unique() > 1
    ]
    return [name for name in named if name not in _varying(frame, *named)] if named else []


def _constant(column: pl.Series) -> Any:
    """Return the value of a trait of one chain; dense rows, made before any pruning, may not know it yet."""
    values = list({str(value): value for value in column.to_list() if value is not None}.values())
    told = [value for value in values if value != "none"] or values
    if len(told) > 1:
        return "+".join(str(value) for value in told)
    return told[0] if told else None


def labels(values: Sequence[Mapping[str, Any]], named: Sequence[str]) -> list[str]:
    """Name each arm by as few of its values as tell it from the others; the trunk of branches by what it does."""
    if len(values) == 1:
        known = {name: value for name, value in values[0].items() if value != "none"}
        return [_join(known, ["variant", *TRAITS]) or "all runs"]
    trunks = "variant" in named and any(each["variant"] for each in values)
    arms_values = [{**each, "variant": each["variant"] or does(each)} if trunks else each for each in values]
    differing = [name for name in named if len({str(values[name]) for values in arms_values}) > 1]
    chosen: list[str] = []
    for name in sorted(differing, key=lambda name: name in TRAITS):
        told = {tuple(str(values[other]) for other in chosen) for values in arms_values}
        if len(told) == len(arms_values):
            break
        finer = {tuple(str(values[other]) for other in [*chosen, name]) for values in arms_values}
        if len(finer) > len(told):
            chosen.append(name)
    return [_join(each, chosen) or "default" for each in arms_values]


def does(values: Mapping[str, Any]) -> str:
    """Return what an arm does that has no name: the trunk of a study with branches."""
    told = ("criterion", "retraining", "mask")
    return ", ".join(str(values[name]) for name in told if values.get(name) not in (None, "none")) or "trunk"


def _join(values: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(text for name in names if name in values and (text := _say(name, values[name])))


def _say(name: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if name in ("noise_rate", NOISE_RATE):
        return f"{percent(float(value), 0)} label noise" if value else "no label noise"
    if name in ("variant", "family", "branch", "dataset", "criterion", "retraining", "network"):
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
    planned = sum(len(seeds) * len(arm.places) for arm in measured)
    there = sum(int(np.isfinite(arm.table("test_accuracy")).sum()) for arm in measured)
    return f"{there} of {planned} rows" if there < planned else None


def _floats(rows: pl.DataFrame, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    if name not in rows.columns:
        return np.full(rows.height, np.nan)
    return rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
