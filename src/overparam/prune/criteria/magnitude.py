"""Magnitude: large weights matter."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.evidence import Evidence


@CRITERIA.named("magnitude")
@dataclass(frozen=True)
class Magnitude:
    """Size of the weight, |w|.

    The score has the unit of the weights, in the weights' own dtype.

    Reference: Han et al., 2015, https://arxiv.org/abs/1506.02626
    """

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return |w| for every tensor."""
        return {name: weight.abs() for name, weight in seen.weights.items()}
