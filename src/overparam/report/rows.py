"""The rows of a study as its page carries them, column by column: charts are made of them, and what readers ask for.

Numbers have :data:`DIGITS` significant digits there, or :data:`FEWER` in a large study: still more than a chart shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from overparam.report.arms import TRAITS, Arm, sweep_columns
from overparam.report.axis import axis_for, numbers_of
from overparam.report.charts import Extent
from overparam.report.curves import place_of
from overparam.report.measure import measure_of
from overparam.report.roles import roles, values_of
from overparam.report.sections import Material
from overparam.report.statistics import CONFIDENCE, FEW, t_quantile

COLOURS = 8  # as many lines can be told apart
ROLES = ("colour", "dash", "facet")
DIGITS, FEWER, LARGE = 6, 4, 3_000
"""Significant digits that a page carries, fewer from so many rows on."""

SHARES = ("accuracy", "soft_error", "density", "density_of_all", "rate", "sparsity")
"""Columns whose names end so are written in percent."""

UNTOLD = frozenset({"study", "fingerprint", "chain", "seed"})
"""Columns that readers are not offered: names of rows, and seeds, over which means are taken."""


def embedded(frame: pl.DataFrame, arms: Sequence[Arm]) -> dict[str, Any]:
    """Return what the scripts of a page know of a study's rows.

    Args:
        frame: the table that charts are made of (:attr:`overparam.report.Material.drawn`).
        arms: its arms.

    Returns:
        ``columns``: for each its ``name``, ``title``, ``values``, whether it was ``swept``, and for a ``number`` how it
        is scaled and written. ``seeds``, and ``arm`` and ``place`` as numbers, None for rows
        that no chart of an arm shows. ``arms``: label, places, and the axis that they are on. ``quantiles``: of
        Student's t, by the number of seeds from which on intervals are shown.
    """
    frame = _placed(frame, arms)
    swept = list(dict.fromkeys([name for name in ("variant", *sweep_columns(frame)) if name in frame.columns]))
    swept += [name for name in TRAITS if name in frame.columns]
    frame = frame.with_columns(_of_chain(name) for name in swept if name in TRAITS)
    if "variant" in frame.columns:
        frame = frame.with_columns(_variants(arms).alias("variant"))
    names = [name for name in dict.fromkeys([*swept, *frame.columns]) if _is_told(frame, name)]
    seeds = max((len(arm.seeds) for arm in arms), default=0)
    return {
        "columns": [_column(frame, name, name in swept, digits_of(frame)) for name in names],
        "seeds": frame["seed"].to_list(),
        "arm": frame["of_arm"].to_list(),
        "place": frame["of_place"].to_list(),
        "arms": [_arm(arm) for arm in arms],
        "quantiles": {n: round(t_quantile((1 + CONFIDENCE) / 2, n - 1), 6) for n in range(FEW, seeds + 1)},
    }


def digits_of(frame: pl.DataFrame) -> int:
    """Return how many significant digits the numbers of a table have in a page."""
    return FEWER if len(frame) >= LARGE else DIGITS


def shortened(numbers: pl.Series, digits: int) -> pl.Series:
    """Return numbers with so many significant digits, null where they are not finite."""
    values = numbers.cast(pl.Float64)
    finite = values.set(values.is_nan() | values.is_infinite(), None)
    return finite.round_sig_figs(digits)


def first_look(rows: Mapping[str, Any], material: Material) -> dict[str, str]:
    """Return what the explorer shows at first: what the page is about, over its axis, arms told apart."""
    numbers = {column["name"]: column for column in rows["columns"] if column.get("number")}
    axis, of, names = material.axis.column, measure_of(material.arms).column, {c["name"] for c in rows["columns"]}
    y = of if of in numbers else next((name for name in numbers if name != axis), axis)
    log = {"logx": "1" if numbers.get(axis, {}).get("log") else "", "logy": ""}
    if len(material.arms) <= COLOURS:
        return {"x": axis, "y": y, "colour": "arm" * (len(material.arms) > 1), "dash": "", "facet": "", **log}
    found = roles(values_of(material.arms))
    told = {role: next((name for name in getattr(found, role) if name in names), "") for role in ROLES}
    return {"x": axis, "y": y, **told, **log}


def _placed(frame: pl.DataFrame, arms: Sequence[Arm]) -> pl.DataFrame:
    """Return rows with the number of their arm, and of their place in it: null where a chart of the arm has no such."""
    keys = [name for name in ("chain", "step", "iteration") if name in frame.columns]
    found = [
        pl.DataFrame(schema={**{name: frame.schema[name] for name in keys}, "of_arm": pl.Int64, "of_place": pl.Int64})
    ]
    for number, arm in enumerate(arms):
        shown = arm.mean().select(arm.key).with_row_index("of_place")
        rows = arm.frame.join(shown, on=arm.key, how="left")
        found.append(rows.select(*keys, pl.lit(number, pl.Int64).alias("of_arm"), pl.col("of_place").cast(pl.Int64)))
    return frame.join(pl.concat(found), on=keys, how="left", maintain_order="left")


def _of_chain(name: str) -> pl.Expr:
    """Return a trait that rows from before any pruning do not know yet, for the whole chain."""
    said = pl.col(name).cast(pl.String)
    told = said.filter(said.is_not_null() & (said != "none")).unique(maintain_order=True).str.join("+").over("chain")
    return pl.when(told != "").then(told).otherwise(said.first().over("chain")).alias(name)


def _variants(arms: Sequence[Arm]) -> pl.Expr:
    """Return the variant of each row; a trunk, which has no name, is called as its arm is."""
    words = {number: str(values.get("variant") or "") for number, values in enumerate(values_of(arms))}
    arm = pl.col("of_arm").drop_nulls().first().over("chain")
    named = arm.replace_strict(words, default=None, return_dtype=pl.String)
    return pl.when(pl.col("variant") == "").then(named).otherwise(pl.col("variant"))


def _is_told(frame: pl.DataFrame, name: str) -> bool:
    return name not in UNTOLD and not name.startswith("of_") and frame[name].n_unique() > 1


def _column(frame: pl.DataFrame, name: str, swept: bool, digits: int) -> dict[str, Any]:
    numbers = numbers_of(frame, name) if swept else frame[name]
    said = {"name": name, "title": name.replace("_", " "), "swept": swept}
    known = frame[name].null_count() == numbers.null_count()
    if not numbers.dtype.is_numeric() or not known:
        return {**said, "values": [None if value is None else str(value) for value in frame[name].to_list()]}
    axis = axis_for(name).scaled(numbers.drop_nulls().to_list())
    values = numbers.to_list() if numbers.dtype.is_integer() else shortened(numbers, digits).to_list()
    form = "~%" if name.endswith(SHARES) else axis.form
    title = name if "." in name else axis.title
    ends = min(numbers.drop_nulls()), max(numbers.drop_nulls())
    ticks = [tick for tick in axis.ticks if ends[0] * 0.999 <= tick <= ends[1] * 1.001]
    scale = {"log": axis.scale != "linear", "falling": axis.falling, **({"ticks": ticks} if ticks else {})}
    return {**said, "title": title, "number": True, **scale, "form": form, "values": values}


def _arm(arm: Arm) -> dict[str, Any]:
    means, axis = arm.mean(), Extent.of([arm]).axis
    whole = [pl.col(name).round().cast(pl.Int64) for name in ("kept",) if name in means.columns]
    told = means.with_columns(whole).iter_rows(named=True)
    return {
        "label": arm.label,
        "places": means[arm.key].to_list(),
        "x": arm.positions,
        "at": [place_of(arm, row) for row in told],
        "n": means["n"].to_list(),
        "linear": axis.scale == "linear",
        "falling": axis.falling,
    }
