"""Tables of what probes measured layer by layer: a row for each place and layer."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from overparam.report.arms import Arm
from overparam.report.sections import Column, Table
from overparam.report.words import count, density, listing, plain_number

NAMED = ("chain", "step", "fingerprint", "layer")
NO_NUMBERS = frozenset({"study", "variant", "seed", "level", *NAMED})


def layer_tables(layers: pl.DataFrame, shown: Sequence[Arm]) -> list[Table]:
    """Return a table for each arm of which layers were measured: means over seeds, a row for each place and layer.

    Args:
        layers: a row for each checkpoint and layer, with ``chain``, ``step``, ``fingerprint``, ``layer`` and numbers.
        shown: the arms of the same study.
    """
    numbers = [name for name, kind in layers.schema.items() if name not in NO_NUMBERS and kind.is_numeric()]
    known = [name for name in numbers if layers[name].count()]
    same = [name for name in known if layers[name].n_unique() == 1]
    measured = [name for name in known if name not in same]
    told = [f"{_words(name)} {_number(name, layers[name][0])}" for name in same]
    note = f" The same everywhere: {listing(told)}." if told else ""
    tables = [_table(layers, arm, measured, note) for arm in shown] if known else []
    return [table for table in tables if table.rows]


def _table(layers: pl.DataFrame, arm: Arm, measured: Sequence[str], note: str) -> Table:
    means = _means(layers, arm, measured)
    heads = [Column(_words(name).replace(" ", "\n")) for name in measured]
    columns = [Column(_place(arm)), Column("layer", words=True), *heads]
    rows = [
        [arm.axis.write(row["place"]), row["layer"], *(_number(name, row[name]) for name in measured)]
        for row in means.to_dicts()
    ]
    return Table(columns, rows, arm.label, f"Means over {count(len(arm.seeds), 'seed')}.{note}")


def _place(arm: Arm) -> str:
    """Return the head of where a row stands, which is not that of a layer's own number."""
    return f"{arm.axis.word}\nof all" if arm.axis.column == "density" else arm.axis.word


def _means(layers: pl.DataFrame, arm: Arm, measured: Sequence[str]) -> pl.DataFrame:
    """Return means over seeds by place and layer, in the order of the axis and of the network."""
    place = pl.col(arm.axis.column).cast(pl.Float64).mean().over(arm.key).alias("place")
    own = ["chain", "step", "fingerprint"]
    here = arm.frame.with_columns(place).select(*own, "place", pl.col(arm.key).alias("at"))
    order = pl.DataFrame({"layer": layers["layer"].unique(maintain_order=True)}).with_row_index("order")
    joined = layers.select(*NAMED, *measured).join(here, on=own).join(order, on="layer")
    grouped = joined.group_by("at", "place", "layer", "order").agg(pl.col(list(measured)).cast(pl.Float64).mean())
    return grouped.sort("at", "order", descending=[arm.backwards, False])


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(name: str, value: float | None) -> str:
    """Write what was measured; means of large counts without a fraction."""
    if name == "density":
        return density(value)
    return plain_number(round(value) if value is not None and abs(value) >= 1000 else value)
