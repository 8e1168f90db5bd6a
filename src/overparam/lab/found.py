"""One trained network of a study, found by its arm, seed and level or any other column, or chosen as the best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from overparam.errors import SpecError, counted, suggest
from overparam.lab.loading import load_checkpoint, load_module
from overparam.lab.named import save_tensors
from overparam.report.arms import Arm, sweep_columns

if TYPE_CHECKING:
    from torch import Tensor, nn

    from overparam.checkpoint import Checkpoint

SETS = ("validation", "test")
METRICS = ("accuracy", "r2", "loss")
"""By what the best is chosen, unless a metric is named: the first of these that was measured."""
LESS_IS_BETTER = ("loss", "bits", "error")
"""How the names of metrics end of which less is better; of all others more is."""
SHOWN = 12  # values of a column that an error lists
CLOSE = 5e-3  # of a number that a user copies from a table, which shows few of its digits


@dataclass(frozen=True, eq=False)
class Found:
    """One row of a study's table, and what the store has of it.

    Its numbers are read like those of a mapping: ``found["test_accuracy"]``, ``dict(found)``.

    Attributes:
        row: the row of ``results.frame``, with the label of its ``arm``.
        store: the folder of the store that has its weights.
        chosen: how it was chosen, in words; empty: it was named.
    """

    row: Mapping[str, Any]
    store: Path
    chosen: str = ""

    def __getitem__(self, column: str) -> Any:
        if column not in self.row:
            raise KeyError(f"{column!r}{suggest(column, self.row)} (there are: {', '.join(self.row)})")
        return self.row[column]

    def keys(self) -> Iterator[str]:
        """Return the names of the columns."""
        return iter(self.row)

    def __repr__(self) -> str:
        place = f"arm {self['arm']!r}, seed {self['seed']}, level {self['level']}, density {self['density']:.3g}"
        told = {name: self.row.get(name) for name in ("validation_accuracy", "test_accuracy", "test_loss")}
        numbers = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in told.items() if value is not None]
        return f"{'; '.join(filter(None, [place, ', '.join(numbers), self.chosen]))} (.module(), .masks)"

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Its weights, constraints and lineage; raises :class:`StoreError` if the store lacks them."""
        return load_checkpoint(self.store, self["fingerprint"])

    @property
    def masks(self) -> dict[str, Tensor]:
        """For each weight tensor that can be pruned, a bool tensor of its shape; True means kept."""
        return dict(self.checkpoint.masks)

    def save(self, path: str | Path, what: str = "weights") -> Path:
        """Write its dense weights or its ``masks`` as a file; see :func:`overparam.lab.named.save_tensors`."""
        return save_tensors(self, path, what)

    def module(self, module: nn.Module | None = None) -> nn.Module:
        """Return the network with its weights, ready to be called; see :func:`overparam.lab.load_module`."""
        return load_module(self.store, self["fingerprint"], module)


def labelled(frame: pl.DataFrame, arms: Sequence[Arm]) -> pl.DataFrame:
    """Return the rows that stand in an arm, with its label in the column ``arm``, and levels as tables have them."""
    keys = ["seed", "chain", "step"]
    parts = [
        (arm.frame if arm.every is None else arm.every).select(*keys, "level", pl.lit(arm.label).alias("arm"))
        for arm in arms
    ]
    if not parts:
        return frame.with_columns(pl.lit("").alias("arm"))
    return frame.drop("level").join(pl.concat(parts), on=keys, how="inner", maintain_order="left")


def find(rows: pl.DataFrame, asked: Mapping[str, Any], missing: int = 0) -> dict[str, Any]:
    """Return the one row that has the values ``asked``, by column, or by the last part of a swept one's name.

    Raises :class:`SpecError`, listing what there is, if none has them or several have.
    """
    left = narrowed(rows, asked, missing)
    if len(left) > 1:
        named = _said(asked) if asked else "nothing named"
        telling = [name for name in ("arm", "seed", "level", *sweep_columns(left), "step") if left[name].n_unique() > 1]
        telling = [name for name in telling if name != "step" or len(telling) == 1]
        lists = "; ".join(f"{name}: {_values(left, name)}" for name in telling)
        raise SpecError(f"{named}: {counted(len(left), 'checkpoint')} fit; say more of {lists}")
    return left.row(0, named=True)


def narrowed(rows: pl.DataFrame, asked: Mapping[str, Any], missing: int = 0) -> pl.DataFrame:
    """Return the rows that have the values ``asked``; raises :class:`SpecError` where there is none."""
    if rows.is_empty():
        raise SpecError("there is no finished checkpoint (yet); run the study first")
    left, found = rows, dict[str, Any]()
    for name, value in asked.items():
        column = _column(rows, name)
        fitting = left.filter([_same(entry, value) for entry in left[column].to_list()])
        if fitting.is_empty():
            there = [entry for entry in left[column].unique().to_list() if isinstance(entry, str)]
            close = suggest(value, there) if isinstance(value, str) else ""
            lacks = f"; {counted(missing, 'row')} of the study not there (yet)" if missing else ""
            raise SpecError(
                f"{_said(found) or 'the study'} has no {name} {value!r}{close} "
                f"(there are: {_values(left, column)}{lacks})"
            )
        left, found = fitting, {**found, name: value}
    return left


def best(rows: pl.DataFrame, on: str, metric: str | None) -> tuple[dict[str, Any], str]:
    """Return the best row and how it was chosen: of equal ones that with the fewest weights.

    Raises :class:`SpecError` where it cannot be chosen on that set, or by that metric.
    """
    if on not in SETS:
        raise SpecError(f"on must be 'validation' or 'test', got {on!r}{suggest(str(on), SETS)}")
    measured = [name.removeprefix(f"{on}_") for name in rows.columns if name.startswith(f"{on}_")]
    measured = [name for name in measured if rows[f"{on}_{name}"].dtype.is_numeric()]
    if not measured and on == "validation":
        raise SpecError(
            "there is no validation split to choose on: give the world one, such as validation=0.1, and run the "
            'study again; or say on="test", and tell your readers that the test set chose'
        )
    name = metric or next((each for each in METRICS if each in measured), "")
    if name not in measured:
        raise SpecError(f"{on} set has no {metric or 'accuracy'!r} (there are: {', '.join(measured) or 'none'})")
    column = f"{on}_{name}"
    lacking = rows[column].null_count()
    if lacking:
        raise SpecError(
            f"{counted(lacking, 'row')} of {len(rows)} have no {column}; name an arm that has, with arm=..."
        )
    falling = not name.endswith(LESS_IS_BETTER)
    finite = rows.filter(pl.col(column).cast(pl.Float64).is_finite())
    if finite.is_empty():
        raise SpecError(f"no row has a finite {column}")
    ranked = finite.sort(column, "kept", descending=[falling, False], maintain_order=True)
    rank = "highest" if falling else "lowest"
    warning = ", so its test numbers are no estimate for new data" if on == "test" else ""
    return ranked.row(0, named=True), f"{rank} {on} {name} of {counted(len(rows), 'row')}{warning}"


def _column(rows: pl.DataFrame, name: str) -> str:
    """Return the column that a name means: its own, or that of the one swept path whose last part it is."""
    if name in rows.columns:
        return name
    ends = [column for column in rows.columns if column.rpartition(".")[2] == name]
    if len(ends) != 1:
        known = ["arm", "seed", "level", *sweep_columns(rows), "density", "step", "variant"]
        words = f"could be {' or '.join(ends)}" if ends else f"is no column{suggest(name, rows.columns)}"
        raise SpecError(f"{name!r} {words} (say {', '.join(dict.fromkeys(known))})")
    return ends[0]


def _same(entry: Any, value: Any) -> bool:
    """Tell whether a cell is what a user means: numbers that tables would write alike are, lists as cells have them."""
    if isinstance(entry, float) and isinstance(value, int | float):
        return math.isclose(entry, value, rel_tol=CLOSE)
    return bool(entry == value) or (isinstance(value, list | tuple) and entry == str(list(value)))


def _values(rows: pl.DataFrame, column: str) -> str:
    values = rows[column].unique(maintain_order=True).to_list()
    shown = [f"{value:.4g}" if isinstance(value, float) else repr(value) for value in values[:SHOWN]]
    more = f", and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(shown) + more


def _said(asked: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in asked.items())
