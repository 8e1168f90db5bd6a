"""The tables of a study, read from its store row by row, or from the memory of having done so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from overparam.lab.curves import curve_table
from overparam.lab.inventory import Inventory
from overparam.lab.record import Record
from overparam.lab.remembered import recall, remember
from overparam.lab.store import DamagedError, Store, checksum
from overparam.remarks import remarks

LAYER_HEAD = ("study", "variant", "seed", "chain", "level", "step", "fingerprint", "layer")
OF_WORD = {"float": pl.Float64, "int": pl.Int64, "str": pl.String}
TYPES = {
    **dict.fromkeys(("study", "variant", "kind", "fingerprint", "layer"), pl.String),
    **dict.fromkeys(("dataset", "criterion", "retraining"), pl.String),
    **dict.fromkeys(("chain", "level", "step", "kept", "weights"), pl.Int64),
    **dict.fromkeys(("density", "noise_rate", "noise_realised"), pl.Float64),
}  # of the columns that every table has; those of swept values, seeds among them, are as the values are
MANY = 300  # rows from which on tables are remembered: of fewer, to read them again takes no time


@dataclass(frozen=True, eq=False)
class Tables:
    """What a study's results are made of.

    Attributes:
        planned: one row per planned row; without ``density`` where it is not there.
        layers, curves: see :class:`overparam.Results`.
        facts: versions, machine, threads and times of the steps.
        remarks: what a reader must know of the pruning.
    """

    planned: pl.DataFrame
    layers: pl.DataFrame
    curves: pl.DataFrame
    facts: Mapping[str, str]
    remarks: Sequence[str]


def tables(store: Store, record: Record, inventory: Inventory) -> tuple[Tables, list[str]]:
    """Return the tables of a study, and a sentence for each result that is damaged, whose row is left out.

    What was read once is not read again while no file of it has another size or time than it had.
    """
    many = len(record.rows) >= MANY
    state = _state(record, inventory) if many else ""
    if many and (known := recall(state)):
        (planned, layers, curves), told = known
        return Tables(planned, layers, curves, told["facts"], told["remarks"]), []
    made, damaged = _read(store, record, inventory)
    if many and not damaged:
        remember(state, [made.planned, made.layers, made.curves], {"facts": made.facts, "remarks": made.remarks})
    return made, damaged


def _state(record: Record, inventory: Inventory) -> str:
    """Return a checksum of all that the tables depend on: the record, and size and time of each result."""
    steps = inventory.state("steps", (row["node"] for row in record.rows))
    probes = inventory.state("probes", (name for row in record.rows for name in row["measurements"]))
    about = repr([record.name, record.revision, [*record.columns.items()], [*record.layer_columns.items()]])
    return checksum(about.encode() + steps + probes)


def head_of(record: Record) -> list[str]:
    """Return the columns that the table has before what is measured."""
    return list(row_columns(record.name, record.rows[0], None))


def _read(store: Store, record: Record, inventory: Inventory) -> tuple[Tables, list[str]]:
    rows, layers, curves, damaged, manifests = [], [], [], [], {}
    for row in record.rows:
        step, measured = None, []
        if record.present(inventory, row):
            try:
                measured = [store.numbers("probes", m) for m in row["measurements"]]
                step = manifests[row["node"]] = store.numbers("steps", row["node"])
            except DamagedError as damage:
                damaged.append(f"{damage}; run the study again to repair it")
        columns = row_columns(record.name, row, step)
        rows.append({**columns, **{k: v for m in measured for k, v in m["values"].items() if step}})
        if step:
            layers += _layer_rows(columns, measured)
            curves.append((columns, step["curve"]))
    head = head_of(record)
    planned = _frame(rows, head, TYPES, record.columns)
    coordinates = [name for name in head if name not in ("kept", "weights", "density")]
    made = Tables(
        planned,
        layers=_frame(layers, LAYER_HEAD, {**TYPES, "seed": planned.schema["seed"]}, record.layer_columns),
        curves=curve_table(curves, {name: planned.schema[name] for name in coordinates}),
        facts=_facts(list(manifests.values())),
        remarks=remarks(layers),
    )
    return made, damaged


def row_columns(name: str, row: Mapping[str, Any], step: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a row says before anything is measured; densities only where its step is there."""
    kept, weights = (step["kept"], step["weights"]) if step else (None, None)
    return {
        "study": name,
        "variant": row["variant"],
        "seed": row["seed"],
        **{path: value for path, value in row["coordinates"].items() if path != "seed"},
        "chain": row["chain"],
        "level": row["level"],
        "step": row["step"],
        "kind": row["kind"],
        "fingerprint": row["node"],
        **row["about"],
        "density": (kept / weights if weights else 1.0) if step else None,
        "kept": kept,
        "weights": weights,
    }


def _layer_rows(columns: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    by_layer: dict[str, dict[str, Any]] = {}
    for manifest in measured:
        for layer, values in manifest["layers"].items():
            by_layer.setdefault(layer, {}).update(values)
    head = {key: columns[key] for key in LAYER_HEAD if key != "layer"}
    return [{**head, "layer": layer, **values} for layer, values in by_layer.items()]


def _frame(
    rows: Sequence[Mapping[str, Any]], first: Sequence[str], types: Mapping[str, Any], stated: Mapping[str, str]
) -> pl.DataFrame:
    """Return rows as a table: the columns ``first``, those that the probes state, and whatever else was measured."""
    known = {**types, **{name: OF_WORD[kind] for name, kind in stated.items()}}
    names = dict.fromkeys([*first, *stated, *(name for row in rows for name in row)])
    return pl.DataFrame(rows, {name: known.get(name) for name in names}, infer_schema_length=None)


def _facts(manifests: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for key in ("overparam", "torch", "numpy", "python", "system", "processor", "cores", "threads", "repository"):
        seen = sorted({manifest["machine"][key] for manifest in manifests if key in manifest["machine"]})
        if seen:
            facts[key] = ", ".join(seen)
    if manifests:
        facts["steps made"] = f"{min(m['made'] for m in manifests)} to {max(m['made'] for m in manifests)}"
        seconds = sum(manifest["facts"]["seconds"] for manifest in manifests)
        facts["training time, all jobs"] = f"{seconds:.0f} s"
    return facts
