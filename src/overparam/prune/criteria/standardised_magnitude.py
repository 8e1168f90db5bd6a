"""Standardised magnitude: weights that are large for their layer matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.evidence import Evidence


@CRITERIA.named("standardised-magnitude")
@dataclass(frozen=True)
class StandardisedMagnitude:
    """Size of the weight in standard deviations of its layer, |w| / std(w).

    Under the scope ``global`` what stays is above one multiple of each layer's standard deviation, the quality
    parameter of Han et al., which here follows from the number of weights to keep. The deviation is that of the
    weights that are not zero, which pruned ones are; of a layer whose weights are equal it is taken to be 1.

    Reference: Han, Pool, Tran & Dally, NIPS 2015, https://arxiv.org/abs/1506.02626, section 3
    """

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return |w| / std(w) for every tensor, in float32 or wider."""
        return {name: weight.abs() / _deviation(weight) for name, weight in seen.weights.items()}


def _deviation(weight: Tensor) -> Tensor:
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    alive = wide[wide != 0]
    found = alive.std(correction=0) if len(alive) else alive.new_zeros(())
    return torch.where(found > 0, found, 1.0)
