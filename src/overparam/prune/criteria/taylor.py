"""Taylor: units whose removal would change the loss matter, to first order."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from overparam.errors import SpecError
from overparam.networks.units import Group
from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.evidence import Evidence


@CRITERIA.named("taylor")
@dataclass(frozen=True)
class Taylor:
    """First-order loss change when a unit is set to zero, |sum of w * dL/dw| over all that read it.

    That is |dL/dg| of a gate g on the unit's output, which has one: what is removed is what the unit gives, bias, norm
    and all. Weights of either sign of the product cancel out, unlike in the sum of ``gradient``; single weights score
    as there. The gradient is that of random training mini-batches, in train mode.

    Reference: Molchanov et al., CVPR 2019, https://arxiv.org/abs/1906.10771 (the gates of section 3.1; here the mean
    gradient over mini-batches and no square of each); of attention heads, Michel et al., 2019, arXiv:1905.10650
    """

    def __call__(self, seen: Evidence) -> Scores:
        """Return |w * dL/dw|, and the sums for units; raises :class:`SpecError` where a gradient is missing."""
        products = {}
        for name, weight in seen.weights.items():
            dtype = torch.promote_types(weight.dtype, torch.float32)
            products[name] = weight.to(dtype) * seen.gradient(name).to(dtype)
        matrices = {name: each for name, each in products.items() if each.dim() > 1}
        sums = {name: each.double().transpose(0, 1).flatten(1).sum(1) for name, each in matrices.items()}

        def score(group: Group) -> float:
            missing = [place.path for place in group.inputs if place.name not in sums]
            if missing or not group.inputs:
                what = f"{missing[0]!r}, whose weights are not scored" if missing else "nothing"
                raise SpecError(f"criterion taylor: units of {min(group.outputs).path!r} are read by {what}")
            return abs(sum(float(sums[place.name][place.position]) for place in sorted(group.inputs)))

        return Scores({name: each.abs() for name, each in products.items()}, units=score)
