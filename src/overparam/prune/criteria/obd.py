"""Optimal Brain Damage: weights matter whose removal would change the loss, to second order."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.evidence import Evidence
from overparam.spec import spec


@CRITERIA.named("obd")
@spec
class OBD:
    """Second-order loss change when the weight is set to zero, h w^2 / 2, with h = d2L/dw2.

    The gradient is taken to be zero, as at a minimum. h is Hutchinson's estimate of the diagonal of the exact Hessian
    by ``draws`` random vectors, where the paper uses a recursion that leaves the second derivatives of the activations
    out (Levenberg-Marquardt). So h, and the score, may be negative: without such a weight the loss would be lower.

    Reference: LeCun, Denker & Solla, NIPS 1989 (Optimal Brain Damage)
    """

    draws: Annotated[int, Field(ge=1)] = 10

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return h w^2 / 2 for every tensor."""
        curvature = seen.curvature(self.draws)
        return {name: curvature[name] * weight.square() / 2 for name, weight in seen.weights.items()}
