"""The results of a study: a tidy table read from the store, and what the report room makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from torch import nn

from overparam.errors import StoreError
from overparam.lab.store import DamagedError, Store, read_sealed
from overparam.lab.weights import load_checkpoint
from overparam.registry import suggest

if TYPE_CHECKING:
    from overparam.report import Verdict

MEASURED = ("seconds", "peak_memory_bytes")  # columns that differ between two runs of the same study


@dataclass(frozen=True, eq=False)
class Results:
    """What a study found.

    Attributes:
        name: the study's name.
        frame: one row per trained checkpoint: coordinates (``variant``, ``seed``, swept values, ``chain``, ``level``,
            ``step``, ``kind``), ``fingerprint``, ``density``, ``kept``, ``weights``, and a column for each number of
            the study's probes. All but the columns in :data:`MEASURED` are the same bits in every run.
        layers: one row per trained checkpoint and layer, with the probes' numbers for each layer.
        spec: the study as YAML.
        failures: a sentence for each step that failed.
        missing: how many rows are not there (yet), because of failures or because the study was stopped.
        notes: damage found, and what was done about it.
        facts: versions, machine, threads and times of the steps.
    """

    name: str
    frame: pl.DataFrame
    layers: pl.DataFrame
    spec: str
    failures: Sequence[str] = ()
    missing: int = 0
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self.missing == 0

    def phases(self) -> pl.DataFrame:
        """Return the light, critical, sweet and collapsed phase of each arm: densities, with intervals over seeds.

        Only an arm that falls, rises and falls again has phases; any other has one row, which says why not.
        """
        from overparam.report import phase_table, phases

        return phase_table(phases(self.frame, self.missing)) if len(self.frame) else phase_table([])

    def claims(self) -> list[Verdict]:
        """Return the claims of the literature that this study can test, with verdicts and numbers."""
        from overparam.papers import claims_for

        return claims_for(self.frame, self.missing)

    def table(self) -> pl.DataFrame:
        """Return the means over seeds, one row per arm and level."""
        from overparam.report import arms, find_phases, lacking, level_table

        lacks = lacking(self.frame, self.missing)
        tables = [
            level_table(arm, find_phases(arm, lacks)).select(pl.lit(arm.label).alias("arm"), pl.all())
            for arm in arms(self.frame)
        ]
        return pl.concat(tables, how="diagonal")

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML page and return its path."""
        from overparam.report import write_page

        goal = Path(path)
        write_page(
            goal,
            name=self.name,
            frame=self.frame,
            spec_yaml=self.spec,
            facts=self.facts,
            failures=self.failures,
            verdicts=self.claims() if len(self.frame) else [],
            missing=self.missing,
        )
        return goal


def load_results(store: Store, name: str, notes: Sequence[str] = ()) -> Results:
    """Read the results of study ``name`` from ``store``; nothing is computed.

    Damaged results are left out of the table and named in ``notes``.

    Raises:
        StoreError: the store has no (readable) record of such a study.
    """
    path = store.study(name)
    if not path.exists():
        known = store.studies()
        have = f"it has: {', '.join(known)}" if known else "it has none"
        raise StoreError(
            f"store {str(store.root)!r} has no study {name!r}{suggest(name, known)} ({have}); run it first"
        )
    try:
        record = read_sealed(path)
    except DamagedError as damage:
        raise StoreError(f"{damage}; run the study again to write it anew") from None
    if record.get("name") != name:
        raise StoreError(f"{path} is the record of another study, {record.get('name')!r}; run the study again")
    rows, layers, found, manifests = [], [], [*store.notes, *notes], {}
    missing = 0
    for row in record["rows"]:
        try:
            if not store.has("steps", row["node"]) or not all(store.has("probes", m) for m in row["measurements"]):
                missing += 1
                continue
            step = manifests[row["node"]] = store.manifest("steps", row["node"])
            measured = [store.manifest("probes", m) for m in row["measurements"]]
        except DamagedError as damage:
            missing += 1
            found.append(f"{damage}; run the study again to repair it")
            continue
        columns = _columns(name, row, step)
        rows.append({**columns, **{k: v for m in measured for k, v in m["values"].items()}})
        layers += _layer_rows(columns, measured)
    return Results(
        name=name,
        frame=pl.DataFrame(rows, infer_schema_length=None),
        layers=pl.DataFrame(layers, infer_schema_length=None),
        spec=record["spec"],
        failures=[f"{title}: {reason}" for title, reason in record["failures"]],
        missing=missing,
        notes=found,
        facts=_facts(record, list(manifests.values())),
    )


def _columns(name: str, row: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
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
        "density": step["kept"] / step["weights"] if step["weights"] else 1.0,
        "kept": step["kept"],
        "weights": step["weights"],
    }


def _layer_rows(columns: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    keep = ("study", "variant", "seed", "chain", "level", "step", "fingerprint")
    by_layer: dict[str, dict[str, Any]] = {}
    for manifest in measured:
        for layer, values in manifest["layers"].items():
            by_layer.setdefault(layer, {}).update(values)
    head = {key: columns[key] for key in keep}
    return [{**head, "layer": layer, **values} for layer, values in by_layer.items()]


def _facts(record: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for key in ("overparam", "torch", "numpy", "python", "system", "processor", "cores", "threads"):
        seen = sorted({manifest["machine"][key] for manifest in manifests})
        if seen:
            facts[key] = ", ".join(seen)
    if manifests:
        facts["steps made"] = f"{min(m['made'] for m in manifests)} to {max(m['made'] for m in manifests)}"
        seconds = sum(manifest["facts"]["seconds"] for manifest in manifests)
        facts["training time, all jobs"] = f"{seconds:.0f} s"
    facts["run"] = record["run"]
    return facts


def load_module(store: Store, fingerprint: str, module: nn.Module) -> nn.Module:
    """Load the weights of a stored checkpoint into ``module``, which must be of the network it was made with.

    Args:
        store: where the checkpoint is.
        fingerprint: of a row of ``results.frame``.
        module: a module of the same architecture; it is changed in place and returned.

    Raises:
        StoreError: no such checkpoint, a damaged one, or one that does not fit ``module``.
    """
    if not store.has("steps", fingerprint):
        raise StoreError(f"store {str(store.root)!r} has no checkpoint {fingerprint!r}")
    checkpoint = load_checkpoint(store.file("steps", fingerprint, "checkpoint.safetensors"))
    try:
        return checkpoint.load_into(module)
    except RuntimeError as error:
        raise StoreError(f"checkpoint {fingerprint} does not fit the module: {error}") from None
