"""The results of a study: a tidy table read from the store, and what the report room makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from overparam.errors import SpecError, StoreError
from overparam.lab.about import About
from overparam.lab.curves import curve_table
from overparam.lab.record import chosen_record
from overparam.lab.store import DamagedError, Store
from overparam.remarks import remarks

if TYPE_CHECKING:
    from torch import nn

    from overparam.checkpoint import Checkpoint
    from overparam.report import Material, Section, Verdict

LAYER_HEAD = ("study", "variant", "seed", "chain", "level", "step", "fingerprint", "layer")
OF_WORD = {"float": pl.Float64, "int": pl.Int64, "str": pl.String}
TYPES = {
    **dict.fromkeys(("study", "variant", "kind", "fingerprint", "layer"), pl.String),
    **dict.fromkeys(("dataset", "criterion", "retraining"), pl.String),
    **dict.fromkeys(("chain", "level", "step", "kept", "weights"), pl.Int64),
    **dict.fromkeys(("density", "noise_rate", "noise_realised"), pl.Float64),
}  # of the columns that every table has; those of swept values, seeds among them, are as the values are


@dataclass(frozen=True, eq=False)
class Results:
    """What a study found.

    Attributes:
        name: the study's name.
        frame: one row per trained checkpoint: coordinates (``variant``, ``seed``, swept values, ``chain``, ``level``,
            ``step``, ``kind``), ``fingerprint``, ``density``, ``kept``, ``weights``, and a column for each number of
            the study's probes. All but the columns in :data:`MEASURED` are the same bits in every run. It has its
            columns even where it has no rows.
        layers: one row per trained checkpoint and layer, with the probes' numbers for each layer.
        curves: one row per trained checkpoint and epoch or evaluated iteration: the coordinates of ``frame``,
            ``iteration`` and ``epoch`` reached, ``lr``, ``loss`` (mean over the epoch's batches, in training mode; null
            where it was measured within an epoch) and what was measured then, as ``train.evaluate_every`` asks for.
        spec: the study as YAML.
        failures: a sentence for each step that failed.
        absent: the coordinates of the rows that are not there (yet), because of failures or because the study was
            stopped; with the columns of ``frame`` but those of probes.
        notes: damage found, and what was done about it.
        remarks: what a reader must know of the pruning: parameters that it leaves out, and layers that collapsed.
        about: the study's axis and paper.
        facts: versions, machine, threads and times of the steps.
        revision: which specification of this name the results belong to.
        shown: a few words on which revision this is, how many of its rows are there, and how many others there are.
    """

    name: str
    frame: pl.DataFrame
    layers: pl.DataFrame
    curves: pl.DataFrame
    spec: str
    failures: Sequence[str] = ()
    absent: pl.DataFrame = field(default_factory=pl.DataFrame)
    notes: Sequence[str] = ()
    remarks: Sequence[str] = ()
    about: About = field(default_factory=About)
    facts: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    shown: str = ""

    @property
    def missing(self) -> int:
        """How many rows are not there."""
        return len(self.absent)

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self.missing == 0

    @property
    def chosen_on(self) -> str:
        """Which set to choose by, such as the best level or a phase: ``validation``, or ``test`` where there is none.

        A choice is made on ``f"{chosen_on}_accuracy"`` (or ``_loss``, ``_r2``, ...) and says which set it used; what is
        then reported of the chosen one is its test metric.
        """
        column = "validation_loss"
        there = column in self.frame.columns and len(self.frame) > 0 and not self.frame[column].null_count()
        return "validation" if there else "test"

    def phases(self) -> pl.DataFrame:
        """Return the light, critical, sweet and collapsed phase of each arm: densities, with intervals over seeds.

        Only an arm that falls, rises and falls again has phases; any other has one row, which says why not.
        """
        from overparam.papers.sparse_double_descent import phase_table, phases

        return phase_table(phases(self.frame, self.missing)) if len(self.frame) else phase_table([])

    def claims(self) -> list[Verdict]:
        """Return the claims of the study's paper, with verdicts and numbers; none where it names no paper."""
        from overparam.papers import claims_for

        return claims_for(self.about.paper, self.frame, self.missing)

    @property
    def material(self) -> Material:
        """What sections of a page are made of."""
        from overparam.report import Material

        return Material(self.frame, self.about.axis, self.absent, self.missing, self.curves)

    def sections(self) -> tuple[list[Section], str]:
        """Return what the page says, section by section, and the label of the arm that its charts show first."""
        from overparam.papers import sections_for

        return sections_for(self.about.paper, self.material)

    def table(self) -> pl.DataFrame:
        """Return the means over seeds: a row for each arm and place on the study's axis."""
        from overparam.report import level_table
        from overparam.report.tables import SHOWN

        if self.frame.is_empty():
            head = {"arm": pl.String, "level": pl.Int64, "density": pl.Float64, "kept": pl.Int64, "n": pl.Int64}
            numbers = {name: kind for name, kind in self.frame.schema.items() if name in SHOWN}
            return pl.DataFrame(schema={**head, **numbers})
        tables = [level_table(arm).select(pl.lit(arm.label).alias("arm"), pl.all()) for arm in self.material.arms]
        return pl.concat(tables, how="diagonal_relaxed")

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML page and return its path."""
        from overparam.report import write_page

        sections, main = self.sections()
        return write_page(
            path,
            name=self.name,
            sections=sections,
            main=main,
            spec_yaml=self.spec,
            facts=self.facts,
            failures=self.failures,
            lacks=self.material.lacks,
            remarks=self.remarks,
        )

    def charts(self, folder: str | Path, suffixes: Sequence[str] = (".png", ".svg")) -> list[Path]:
        """Write the charts of the page as files into ``folder`` and return their paths."""
        from overparam.report import write_charts

        return write_charts(self.sections()[0], folder, suffixes)


def load_results(store: Store, name: str, revision: str | None = None, notes: Sequence[str] = ()) -> Results:
    """Read the results of study ``name`` from ``store``; nothing is computed.

    Args:
        store: where the study was run.
        name: the study's name.
        revision: the first digits of a revision, of which there is one for each specification that was run under
            this name; None: the one that was run last. ``shown`` of what is returned says which.
        notes: what is to stand before what is found here.

    Damaged results are left out of the table and named in ``notes``.

    Raises:
        StoreError: the store has no (readable) record of such a study or revision.
    """
    record, shown, damaged = chosen_record(store, name, revision)
    rows, layers, curves, found, manifests = [], [], [], [*store.notes, *notes, *damaged], {}
    for row in record.rows:
        step, measured = None, []
        if record.present(store, row):
            try:
                measured = [store.numbers("probes", m) for m in row["measurements"]]
                step = manifests[row["node"]] = store.numbers("steps", row["node"])
            except DamagedError as damage:
                found.append(f"{damage}; run the study again to repair it")
        columns = _columns(name, row, step)
        rows.append({**columns, **{k: v for m in measured for k, v in m["values"].items() if step}})
        if step:
            layers += _layer_rows(columns, measured)
            curves.append((columns, step["curve"]))
    head = list(_columns(name, record.rows[0], None))
    planned = _frame(rows, head, TYPES, record.columns)
    here = pl.col("density").is_not_null()
    coordinates = [name for name in head if name not in ("kept", "weights", "density")]
    return Results(
        name=name,
        frame=planned.filter(here),
        layers=_frame(layers, LAYER_HEAD, {**TYPES, "seed": planned.schema["seed"]}, record.layer_columns),
        curves=curve_table(curves, {name: planned.schema[name] for name in coordinates}),
        spec=record.spec,
        failures=[f"{title}: {reason}" for title, reason in record.failures],
        absent=planned.filter(~here).select(head),
        notes=found,
        remarks=remarks(layers),
        about=About(**record.about),
        facts={**_facts(record.run, list(manifests.values())), "results": shown},
        revision=record.revision,
        shown=shown,
    )


def _columns(name: str, row: Mapping[str, Any], step: Mapping[str, Any] | None) -> dict[str, Any]:
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


def _facts(run: str, manifests: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for key in ("overparam", "torch", "numpy", "python", "system", "processor", "cores", "threads"):
        seen = sorted({manifest["machine"][key] for manifest in manifests})
        if seen:
            facts[key] = ", ".join(seen)
    if manifests:
        facts["steps made"] = f"{min(m['made'] for m in manifests)} to {max(m['made'] for m in manifests)}"
        seconds = sum(manifest["facts"]["seconds"] for manifest in manifests)
        facts["training time, all jobs"] = f"{seconds:.0f} s"
    facts["run"] = run
    return facts


def load_module(store: str | Path | Store, fingerprint: str, module: nn.Module | None = None) -> nn.Module:
    """Return the network of a stored checkpoint with its weights, removed units and all, ready to be called.

    Args:
        store: where the checkpoint is; a folder, or a :class:`Store`.
        fingerprint: of a row of ``results.frame``.
        module: a module as its network makes it, which is changed in place; None rebuilds it, from the name or the
            import path that the study gave.

    Raises:
        StoreError: no such checkpoint, a damaged one, one that does not fit ``module``, or a network that was given as
            a function or with options that are no plain data: then ``module`` is needed.
    """
    store = store if isinstance(store, Store) else Store(store, reading=True)
    checkpoint = _weights(store, fingerprint)
    module = _rebuilt(store, fingerprint) if module is None else module
    try:
        return checkpoint.load_into(module)
    except (RuntimeError, SpecError) as error:
        first = " ".join(str(error).split("\n")[:2])
        raise StoreError(f"checkpoint {fingerprint} does not fit the module: {first}") from None


def _rebuilt(store: Store, fingerprint: str) -> nn.Module:
    """Return a module as the network of a stored checkpoint makes it, with other weights."""
    numbers = store.numbers("steps", fingerprint)
    recipe = numbers["network"]
    if recipe is None:
        raise StoreError(
            f"checkpoint {fingerprint} is of a network that was given as a function, or with options that are no plain "
            "data; pass the module that its weights are to be loaded into"
        )
    from overparam.networks import Network

    return Network(**recipe["network"]).fresh(**recipe["form"], seed=0)


def _weights(store: Store, fingerprint: str) -> Checkpoint:
    """Return a stored checkpoint; damage is marked, if it can be, so that the next run computes it again."""
    from overparam.lab.weights import checkpoint_from_bytes

    try:
        if not store.verify("steps", fingerprint, weights=False):
            raise StoreError(f"store {str(store.root)!r} has no checkpoint {fingerprint!r}")
        return checkpoint_from_bytes(store.weights(fingerprint))
    except DamagedError as damage:
        with contextlib.suppress(StoreError):
            store.mark_damaged("steps", fingerprint, str(damage))
        raise DamagedError(f"{damage}; run the study again to compute it anew") from None


def __getattr__(name: str) -> Any:
    """Return ``MEASURED``, the columns that differ between two runs of the same study; probes need torch."""
    if name != "MEASURED":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from overparam.probes import PROBES

    return globals().setdefault(name, tuple(column for each in PROBES for column in PROBES.get(each).measured))
