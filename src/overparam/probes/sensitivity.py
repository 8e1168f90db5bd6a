"""How much each layer bears by itself: pruned alone to several densities, without training it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from overparam.checkpoint import Checkpoint
from overparam.errors import SpecError
from overparam.probes.base import PROBES, Measurements, Probe, View
from overparam.prune import CRITERIA, PATTERNS, Round, Scores
from overparam.prune.masks import Masks
from overparam.prune.patterns.base import across_layers, decides_count
from overparam.prune.selection import Named
from overparam.spec import spec
from overparam.train.evaluate import evaluate
from overparam.train.scoring import scored
from overparam.worlds import Batch, World

METRICS = ("accuracy", "loss")

Share = Annotated[float, Field(gt=0, lt=1)]


@PROBES.named("sensitivity")
@spec
class Sensitivity(Probe):
    """Accuracy and loss with one layer pruned and all others whole: which layer bears how much (Han et al. 2015).

    ``scan_accuracy`` and ``scan_loss`` are those of the network as it is, on the validation set if there is one, else
    on the test set. Per layer, ``scan_accuracy_at_0_1`` is with this layer pruned to a tenth of its weights (units,
    under the pattern ``units``), and so on for each of ``densities``; left out where the layer cannot be pruned so, or
    is sparser already. ``scan_density`` is the lowest of them that it bears: down to it, no density lowers accuracy by
    more than ``tolerance`` (or, in tasks without one, raises the loss by more than that share); 1 if none.

    What layers bear alone they need not bear together: ``scan_accuracy_together`` and ``scan_loss_together`` are with
    each layer at its own ``scan_density``, and ``scan_density_together`` is the density of all weights then.

    Args:
        criterion, pattern: as of ``prune``.
        densities: of a layer, in (0, 1).
        tolerance: of accuracy, a share: 0.01 is one percentage point; > 0.
        examples: how many are looked at; None: all.
        batches, batch_size: training mini-batches for a criterion that needs them.
        seed: of a criterion that draws at random.

    Reference: Han, Pool, Tran & Dally, NIPS 2015, arXiv:1506.02626, Figure 6.

    Example:
        {sensitivity: {densities: [0.5, 0.1], tolerance: 0.02}}
    """

    kind: ClassVar[str] = "sensitivity"

    criterion: Annotated[Any, CRITERIA] = "magnitude"
    pattern: Annotated[Any, PATTERNS] = "weights"
    densities: tuple[Share, ...] = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02)
    tolerance: Annotated[float, Field(gt=0)] = 0.01
    examples: Annotated[int, Field(ge=1)] | None = None
    batches: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 128
    seed: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if not self.densities or sorted(set(self.densities), reverse=True) != list(self.densities):
            raise ValueError(f"densities must fall, each once, got {list(self.densities)}")
        if decides_count(self.pattern):
            told = f"pattern {PATTERNS.resolve(self.pattern)} says how many weights stay"
            raise ValueError(f"{told}, so there is no density to scan")
        if across_layers(self.pattern):
            raise ValueError(
                f"pattern {PATTERNS.label(self.pattern)} takes what several layers have in common, so none can be "
                "scanned alone; scan weights or units, or prune heads to several densities in a study"
            )

    def references(self) -> tuple[str, ...]:
        """Return the checkpoint that the criterion looks at, if it does."""
        return tuple(getattr(CRITERIA.resolve(self.criterion), "references", tuple)())

    def columns_in(self, world: World) -> Mapping[str, type]:
        """Return the columns of what the world's task measures."""
        names = [name for name in METRICS if f"test_{name}" in world.metrics()]
        together = [f"scan_{name}_together" for name in names]
        return dict.fromkeys([*(f"scan_{name}" for name in names), *together, "scan_density_together"], float)

    @property
    def layer_columns(self) -> Mapping[str, type]:  # type: ignore[override]
        """Return the columns of each layer: what it bears, and the metrics at each density."""
        at = [f"scan_{name}_at_{told(density)}" for name in METRICS for density in self.densities]
        return dict.fromkeys(["scan_density", *at], float)

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Prune each layer alone to each density, and evaluate each of the networks once."""
        scan = _Scan.of(self, checkpoint, view)
        whole, layers, borne = scan.quality(checkpoint), {}, dict[str, _Pruned]()
        for name in checkpoint.masks:
            found = {density: scan.alone(name, density) for density in self.densities}
            measured = {density: scan.quality(each.network) for density, each in found.items() if each is not None}
            least = self._least(whole, measured)
            if least < 1:
                borne[name] = found[least]  # type: ignore[assignment]
            at = {f"scan_{m}_at_{told(d)}": each[m] for m in whole for d, each in measured.items()}
            layers[name] = {"scan_density": least, **at}
        if checkpoint.density == 1 and all(len(row) == 1 for row in layers.values()) and scan.refused:
            raise scan.refused[-1]
        together = scan.together(borne)
        values = {f"scan_{name}": value for name, value in whole.items()}
        values |= {f"scan_{name}_together": value for name, value in scan.quality(together).items()}
        return Measurements({**values, "scan_density_together": together.density}, layers)

    def _least(self, whole: Mapping[str, float], measured: Mapping[float, Mapping[str, float]]) -> float:
        """Return the lowest density down to which nothing is lost, 1 if there is none."""
        least = 1.0
        for density, found in measured.items():
            if loss_of(whole, found) > self.tolerance:
                break
            least = density
        return least


def loss_of(whole: Mapping[str, float], found: Mapping[str, float]) -> float:
    """Return what is lost: of accuracy as a share, of tasks without one the relative rise of the loss."""
    if "accuracy" in whole:
        return whole["accuracy"] - found["accuracy"]
    return (found["loss"] - whole["loss"]) / max(whole["loss"], 1e-12)


def told(density: float) -> str:
    """Return a density as a part of a column's name.

    >>> told(0.05)
    '0_05'
    """
    return f"{density:f}".rstrip("0").replace(".", "_")


@dataclass(frozen=True)
class _Pruned:
    """The network with one layer pruned: its masks, and the new values that the criterion gave."""

    network: Checkpoint
    masks: Masks
    moved: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Scan:
    """What is the same for all layers: the scores, taken once, and how a network is measured."""

    probe: Sensitivity
    start: Checkpoint
    view: View
    named: Named
    scores: Scores
    examples: Batch
    refused: list[SpecError] = field(default_factory=list)  # why layers cannot be pruned so

    @classmethod
    def of(cls, probe: Sensitivity, start: Checkpoint, view: View) -> _Scan:
        data = view.world if view.device == "cpu" else view.world.to(view.device)
        examples = data.splits["validation" if "validation" in data.splits else "test"].examples()
        given = {name: view.against for name in probe.references() if view.against is not None}
        scores = scored(
            probe.criterion,
            start,
            view.module,
            view.world,
            batches=probe.batches,
            batch_size=probe.batch_size,
            seed=probe.seed,
            given=given,
        )
        named = Named.of(view.module(), view.world.test.inputs[:1])
        return cls(probe, start, view, named, scores, examples.part(0, probe.examples or len(examples)))

    def quality(self, network: Checkpoint) -> dict[str, float]:
        """Return accuracy and loss of a network."""
        module = network.load_into(self.view.module()).to(self.view.device)
        found = evaluate(module, self.examples, self.view.world.task)
        return {name: found[name] for name in METRICS if name in found}

    def alone(self, layer: str, density: float) -> _Pruned | None:
        """Return the network with one layer pruned to a density; None where it cannot be, or is sparser already."""
        asked = Round(
            roles=self.named.uses,
            look=lambda: (self.start.load_into(self.view.module()), self.view.world.test.inputs[:1]),
            names=self.named.names,
            density=density,
            exclude=[name for name in self.start.masks if name != layer],
        )
        try:
            masks = PATTERNS.resolve(self.probe.pattern).masks(self.scores, self.start.masks, asked)
        except SpecError as refused:
            self.refused.append(refused)
            return None
        moved = self.scores.weights(masks, self.start.state)
        return _Pruned(self._made(masks, moved), masks, moved)

    def together(self, borne: Mapping[str, _Pruned]) -> Checkpoint:
        """Return the network in which each of these layers is pruned as it was alone."""
        masks = {
            name: torch.stack([mask, *(each.masks[name] for each in borne.values())]).all(0)
            for name, mask in self.start.masks.items()
        }
        moved = {name: each.moved[name] for name, each in borne.items() if name in each.moved}
        return self._made(masks, moved)

    def _made(self, masks: Masks, moved: Mapping[str, Tensor]) -> Checkpoint:
        return self.start.with_state({**self.start.state, **moved}).masked(masks)
