"""Gradient magnitude: weights whose change would change the loss most matter, whatever they are now."""

from dataclasses import dataclass

from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.evidence import Evidence


@CRITERIA.named("gradient-magnitude")
@dataclass(frozen=True)
class GradientMagnitude:
    """Steepness of the loss in the weight, |dL/dw|, by which RigL chooses what grows.

    It tells weights at zero apart, for which the criterion ``gradient`` is zero.

    Reference: Evci et al., ICML 2020, https://arxiv.org/abs/1911.11134
    """

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return |dL/dw| for every tensor; raises :class:`SpecError` where a gradient is missing."""
        return {name: seen.gradient(name).abs() for name in seen.weights}
