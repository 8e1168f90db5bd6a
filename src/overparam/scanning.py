"""Scan a network: prune each layer alone, without training it again, and see how much it bears (Han et al., 2015)."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from torch import nn

from overparam.checkpoint import Checkpoint, state_of
from overparam.constraints import masked
from overparam.errors import SpecError
from overparam.lab import Chain, Results, Study
from overparam.networks import tensor_roles
from overparam.probes import Density, Sensitivity, View
from overparam.probes.sensitivity import METRICS, told
from overparam.prune import dense_masks
from overparam.prune.masks import Masks
from overparam.prune.modules import check_finite
from overparam.report.arms import arms
from overparam.report.axes import DENSITY
from overparam.report.figures import save_chart
from overparam.report.multiples import comparison_chart
from overparam.report.sections import Column, Comparison, Table
from overparam.report.tables import export
from overparam.report.words import density as share
from overparam.report.words import number, percent, plain_number
from overparam.steps import Measure
from overparam.worlds import World, WorldData

if TYPE_CHECKING:
    from overparam.worlds import Dataset

AXIS = replace(DENSITY, title="density of the one layer that is pruned")


NUMBERS, PICTURES = (".csv", ".parquet"), (".png", ".svg", ".pdf", ".json")


def check_suffix(path: Path) -> None:
    """Raise :class:`SpecError` for a file that a scan cannot be written as."""
    if path.suffix not in (*NUMBERS, *PICTURES):
        known = f"{', '.join(PICTURES)} (the chart), {' or '.join(NUMBERS)} (the numbers)"
        raise SpecError(f"a scan cannot be written as {path.name!r}; end it in {known}")


@dataclass(frozen=True, eq=False)
class Scan:
    """What each layer of a network bears by itself.

    Attributes:
        frame: a row for each seed, layer and density, the layer as it is first: ``scan_accuracy`` and ``scan_loss``
            with this layer alone pruned so, ``weights`` of the layer, and ``scan_density``, the lowest density that it
            bears.
        together: a row for each seed: the metrics of the network as it is, those with each layer at what it bears
            (``scan_accuracy_together``, ...), and the density of all weights then (``scan_density_together``).
        probe: how it was scanned.
    """

    frame: pl.DataFrame
    together: pl.DataFrame
    probe: Sensitivity

    @classmethod
    def of(cls, results: Results, probe: Sensitivity) -> Scan:
        """Return the scan in the results of :func:`study_of`; raises :class:`SpecError` where there is none."""
        last = results.frame.filter(pl.col("step") == pl.col("step").max())
        if last.is_empty() or "scan_loss" not in last.columns:
            raise SpecError("there is no finished scan in these results; run it first")
        parts = []
        for row in last.iter_rows(named=True):
            layers = results.layers.filter(pl.col("fingerprint") == row["fingerprint"], pl.col("seed") == row["seed"])
            parts.append((int(row["seed"]), row, {each["layer"]: each for each in layers.iter_rows(named=True)}))
        return _scan(parts, probe)

    @property
    def metric(self) -> str:
        """What is looked at: ``scan_accuracy``, or ``scan_loss`` in tasks that have none."""
        return next(f"scan_{name}" for name in METRICS if f"scan_{name}" in self.frame.columns)

    @property
    def suggested(self) -> dict[str, float]:
        """The lowest density that each layer bears by itself, in every seed."""
        rows = self.frame.group_by("layer", maintain_order=True).agg(pl.col("scan_density").max())
        return dict(rows.select("layer", "scan_density").iter_rows())

    def table(self) -> Table:
        """Return a row for each layer: its weights, the metric at each density, and what it bears."""
        write = (lambda value: "–" if value is None else f"{100 * value:.1f}") if self._is_accuracy else number
        densities = sorted(self.frame["density"].unique(), reverse=True)
        means = self.frame.group_by("layer", "density").agg(pl.col(self.metric).mean())
        cells = {(layer, at): value for layer, at, value in means.iter_rows()}
        tried = Counter(layer for layer, _ in cells)  # at its own density, and at those below
        rows = [
            [layer, plain_number(weights), *(write(cells.get((layer, at))) for at in densities), borne]
            for layer, weights, bears in self._layers()
            for borne in [share(bears) if tried[layer] > 1 else "–"]
        ]
        heads = [Column("layer", words=True), Column("weights"), *(Column(share(at)) for at in densities)]
        word = "Accuracy in %" if self._is_accuracy else "Loss"
        note = f"{word} with one layer pruned to the density above; bears: the lowest at which no seed loses more"
        lost = f"than {100 * self.probe.tolerance:g} {'points' if self._is_accuracy else '%'}"
        lost += "; –: cannot be pruned so alone, or is sparser already." if 1 in tried.values() else "."
        return Table([*heads, Column("bears")], rows, note=f"{note} {lost}")

    def sentence(self) -> str:
        """Say what is left if each layer is pruned to what it bears."""
        mean = self.together.mean().row(0, named=True)
        write = percent if self._is_accuracy else number
        name = self.metric.removeprefix("scan_")
        return (
            f"Each layer at what it bears, together: {share(mean['scan_density_together'])} of the weights, {name} "
            f"{write(mean[f'{self.metric}_together'])} where the network as it is has {write(mean[self.metric])}, "
            "without retraining."
        )

    def chart(self) -> Comparison:
        """Return the chart of a line for each layer over its density."""
        what = "Accuracy" if self._is_accuracy else "Loss"
        found = arms(self.frame.rename({"layer": "variant"}), AXIS, ["variant"])
        return Comparison(found, self.metric, f"{what} with one layer pruned, all others whole", "scan")

    def save(self, path: str | Path) -> Path:
        """Write the chart (.png, .svg, .pdf, .json is Vega-Lite) or the numbers (.csv, .parquet), by the suffix.

        Raises :class:`SpecError` for another, or a file that cannot be written.
        """
        path = Path(path)
        check_suffix(path)
        if path.suffix in NUMBERS:
            export(self.frame, path.suffix[1:], path)
            return path
        drawn = self.chart()
        made = comparison_chart(drawn.arms, column=drawn.column, title=drawn.title)
        return save_chart(made, path)

    @property
    def _is_accuracy(self) -> bool:
        return self.metric == "scan_accuracy"

    def _layers(self) -> Iterator[tuple[str, int, float]]:
        weights = dict(self.frame.select("layer", "weights").unique().iter_rows())
        yield from ((layer, weights[layer], bears) for layer, bears in self.suggested.items())


def scan(
    module: nn.Module,
    data: WorldData | World | Dataset,
    *,
    masks: Masks | None = None,
    **how: Any,
) -> Scan:
    """Prune each layer of ``module`` alone to several densities and measure it; the module is not changed.

    >>> import overparam
    >>> world = overparam.World("digits", train_size=100, test_size=100)
    >>> net = overparam.Network("mlp", {"hidden": [8]}).build((1, 8, 8), 10, 0)
    >>> found = overparam.scan(net, world, densities=[0.5, 0.1])
    >>> list(found.suggested)
    ['fc1.weight', 'output.weight']

    Args:
        module: a trained network, for the inputs and outputs of the data.
        data: a dataset or a world, or the data of one.
        masks: of a network that is pruned already, by parameter name; None: all of its weights are alive.
        how: the fields of the probe ``sensitivity``: ``criterion``, ``pattern``, ``densities``, ``tolerance``,
            ``examples``, ...

    Raises:
        SpecError: a wrong argument, a module that nothing can be pruned of, or parameters that are not finite.
    """
    probe = Sensitivity(**how)
    world = data if isinstance(data, WorldData) else (data if isinstance(data, World) else World(data)).build()
    roles = tensor_roles(module, world.test.inputs[:1])
    check_finite(module)
    alive = dense_masks(module, world.test.inputs[:1]) if masks is None else masks
    start = Checkpoint(state_of(module), masked(alive), roles)
    view = View(world, lambda: copy.deepcopy(module))
    found, sizes = probe.measure(start, view), Density().measure(start, view).layers
    layers = {name: {**sizes[name], **row} for name, row in found.layers.items()}
    return _scan([(0, found.values, layers)], probe)


def study_of(study: Study, probe: Sensitivity) -> Study:
    """Return the study that scans a study's network before it is pruned: its first variant, with all seeds.

    Its trainings are those of ``study``, so that a store which has them does not run them again.
    """
    first = study.experiments[0]
    steps = list(takewhile(lambda step: not step.next_level, first.chain.flat()))
    while steps and not steps[-1].trains:
        steps.pop()
    seeds = dict.fromkeys(each.seed for each in study.experiments if each.variant == first.variant)
    return Study(
        f"{study.name}-scan",
        first.world,
        first.network,
        Chain(*steps) if steps else Chain(Measure()),
        sweep={"seed": list(seeds)},
        probes=[probe, "density"],
        engine=study.engine,
        device=study.device,
    )


Part = tuple[int, Mapping[str, Any], Mapping[str, Mapping[str, Any]]]


def _scan(parts: Sequence[Part], probe: Sensitivity) -> Scan:
    """Make a scan of the numbers of each seed: of the whole network, and of its layers."""
    rows = [row for seed, whole, layers in parts for row in _rows(seed, whole, layers, probe)]
    columns = [name for name in parts[0][1] if name.startswith("scan_")]
    together = pl.DataFrame([{"seed": seed, **{name: whole[name] for name in columns}} for seed, whole, _ in parts])
    return Scan(pl.DataFrame(rows, infer_schema_length=None), together, probe)


def _rows(
    seed: int, whole: Mapping[str, Any], layers: Mapping[str, Mapping[str, Any]], probe: Sensitivity
) -> Iterator[dict[str, Any]]:
    names = [f"scan_{name}" for name in METRICS if f"scan_{name}" in whole]
    scanned = {layer: row for layer, row in layers.items() if row.get("scan_density") is not None}
    for place, (layer, row) in enumerate(scanned.items()):
        head = {"seed": seed, "chain": place + len(scanned) * seed, "layer": layer, "weights": row["weights"]}
        at = {row["density"]: {name: whole[name] for name in names}}
        for density in probe.densities:
            found = {name: row.get(f"{name}_at_{told(density)}") for name in names}
            at |= {density: found} if found[names[0]] is not None else {}
        for level, (density, found) in enumerate(at.items()):
            yield {**head, "level": level, "density": density, **found, "scan_density": row["scan_density"]}
