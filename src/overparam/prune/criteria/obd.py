"""Optimal Brain Damage: weights matter whose removal would change the loss, to second order."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.evidence import Curvature, Evidence
from overparam.spec import spec


@CRITERIA.named("obd")
@spec
class OBD:
    """Second-order loss change when the weight is set to zero, h w^2 / 2, with h = d2L/dw2.

    The gradient is taken to be zero, as at a minimum.

    Args:
        curvature: how h is taken. ``hutchinson``: an estimate of the diagonal of the exact Hessian, so that h, and the
            score, may be negative: without such a weight the loss would be lower. ``backpropagated``: the paper's
            recursion, one pass backwards, without the second derivatives of activations (Levenberg-Marquardt), for
            chains of layers. ``gauss-newton``: the exact diagonal of the Gauss-Newton matrix, a pass for each output.
            ``fisher``: that of the empirical Fisher matrix, the mean square of the gradients of single examples, which
            vanishes where all are fitted.
        draws: random vectors of ``hutchinson``.
        damping: added to h, in its unit: with none, what has no curvature goes in the order of its position.

    Reference: LeCun, Denker & Solla, NIPS 1989 (Optimal Brain Damage)

    Example:
        {obd: {curvature: fisher}}
    """

    curvature: Curvature = "hutchinson"
    draws: Annotated[int, Field(ge=1)] = 10
    damping: Annotated[float, Field(ge=0)] = 0.0

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return h w^2 / 2 for every tensor that has a curvature."""
        found = seen.curvature(self.draws, self.curvature)
        weights = {name: weight for name, weight in seen.weights.items() if name in found}
        return {name: (found[name] + self.damping) * weight.square() / 2 for name, weight in weights.items()}
