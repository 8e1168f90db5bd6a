"""Tables of what probes measured layer by layer: a row for each place and layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from overparam.report.arms import Arm
from overparam.report.sections import Column, Table
from overparam.report.words import count, density, plain_number

NAMED = ("chain", "step", "fingerprint", "layer")
NO_NUMBERS = frozenset({"study", "variant", "seed", "level", *NAMED})


def layer_tables(layers: pl.DataFrame, shown: Sequence[Arm]) -> list[Table]:
    """Return a table for each arm of which layers were measured: means over seeds, a row for each place and layer.

    Args:
        layers: a row for each checkpoint and layer, with ``chain``, ``step``, ``fingerprint``, ``layer`` and numbers.
        shown: the arms of the same study.
    """
    measured = [
        n for n, kind in layers.schema.items() if n not in NO_NUMBERS and kind.is_numeric() and layers[n].count()
    ]
    tables = [_table(layers, arm, measured) for arm in shown] if measured else []
    return [table for table in tables if table.rows]


def _table(layers: pl.DataFrame, arm: Arm, measured: Sequence[str]) -> Table:
    means = _means(layers, arm, measured)
    columns = [Column(_place(arm)), Column("layer", words=True), *(Column(name.replace("_", " ")) for name in measured)]
    rows = [
        [arm.axis.write(row["place"]), row["layer"], *_numbers(row, measured)] for row in means.iter_rows(named=True)
    ]
    return Table(columns, rows, arm.label, f"Means over {count(len(arm.seeds), 'seed')}.")


def _place(arm: Arm) -> str:
    """Return the head of where a row stands, which is not that of a layer's own number."""
    return f"{arm.axis.word} of all" if arm.axis.column == "density" else arm.axis.word


def _means(layers: pl.DataFrame, arm: Arm, measured: Sequence[str]) -> pl.DataFrame:
    """Return means over seeds by place and layer, in the order of the axis and of the network."""
    place = pl.col(arm.axis.column).cast(pl.Float64).mean().over(arm.key).alias("place")
    own = ["chain", "step", "fingerprint"]
    here = arm.frame.with_columns(place).select(*own, "place", pl.col(arm.key).alias("at"))
    order = pl.DataFrame({"layer": layers["layer"].unique(maintain_order=True)}).with_row_index("order")
    joined = layers.select(*NAMED, *measured).join(here, on=own).join(order, on="layer")
    grouped = joined.group_by("at", "place", "layer", "order").agg(pl.col(list(measured)).cast(pl.Float64).mean())
    return grouped.sort("at", "order", descending=[arm.backwards, False])


def _numbers(row: Mapping[str, Any], measured: Sequence[str]) -> list[str]:
    return [density(row[name]) if name == "density" else plain_number(row[name]) for name in measured]
