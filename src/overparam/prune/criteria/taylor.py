"""Taylor: units whose removal would change the loss matter, to first order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

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
        """Return |w * dL/dw|, and the sums for units, be what reads them scored or not."""

        @cache
        def product(name: str) -> Tensor:
            weight = seen.weights[name] if name in seen.weights else seen.parameters[name]
            dtype = torch.promote_types(weight.dtype, torch.float32)
            return weight.to(dtype) * seen.gradient(name).to(dtype)

        @cache
        def read(name: str) -> Tensor:
            return product(name).double().transpose(0, 1).flatten(1).sum(1)

        def score(group: Group) -> float:
            if not group.inputs:
                raise SpecError(f"criterion taylor: nothing reads the units of {min(group.outputs).path!r}")
            return abs(sum(float(read(place.name)[place.position]) for place in sorted(group.inputs)))

        return Scores({name: product(name).abs() for name in seen.weights}, units=score)
