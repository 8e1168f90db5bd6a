"""How much two masks have in common, and how much they would by chance."""

from collections.abc import Mapping
from typing import ClassVar

import torch

from overparam.checkpoint import Checkpoint
from overparam.probes.base import PROBES, Measurements, PairProbe, View
from overparam.spec import spec


@PROBES.named("mask-overlap")
@spec
class MaskOverlap(PairProbe):
    """Share of the weights kept by either of two masks that both keep (Jaccard index), and that of random masks.

    ``mask_overlap = |A & B| / |A | B|`` over all weights that can be pruned, in [0, 1]: 1 for equal masks, two empty
    ones included. ``mask_overlap_expected`` is the same ratio for the intersection that is to be expected of random
    masks which keep as many weights of each layer, ``sum of a * b / n``. A weight without a mask in one of the two is
    kept there. Per layer: the same two.

    Example:
        {mask-overlap: {against: seed+1}}
    """

    kind: ClassVar[str] = "mask-overlap"
    columns: ClassVar[Mapping[str, type]] = dict.fromkeys(("mask_overlap", "mask_overlap_expected"), float)
    layer_columns: ClassVar[Mapping[str, type]] = columns

    def measure(self, checkpoint: Checkpoint, view: View) -> Measurements:
        """Count what is kept by both masks and by each."""
        masks, others = checkpoint.masks, self.other(checkpoint, view).masks
        counts = {}
        for name in dict.fromkeys([*masks, *others]):
            one, other = (
                of.get(name, torch.tensor(True)).expand(checkpoint.state[name].shape) for of in (masks, others)
            )
            kept, kept_there = int(one.sum()), int(other.sum())
            by_chance = kept * kept_there / max(one.numel(), 1)
            counts[name] = (int((one & other).sum()), by_chance, kept + kept_there)
        whole = _columns(*(sum(each[place] for each in counts.values()) for place in range(3)))
        return Measurements(whole, {name: _columns(*counts[name]) for name in masks})


def _columns(both: float, by_chance: float, kept: float) -> dict[str, float]:
    """Return the ratios, given what is kept by both masks, would be by chance, and is by one plus the other."""
    shares = [common / (kept - common) if kept else 1.0 for common in (both, by_chance)]
    return {"mask_overlap": shares[0], "mask_overlap_expected": shares[1]}
