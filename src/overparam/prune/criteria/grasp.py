"""GraSP: weights matter whose removal would weaken the gradient flow."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.evidence import Evidence
from overparam.spec import spec


@CRITERIA.named("grasp")
@spec
class GraSP:
    """Half the loss of gradient flow when the weight is set to zero, to first order, w (H g).

    The gradient flow is the squared norm of the gradient g of the loss by the weights that are scored, and H their
    Hessian, so a step d changes it by ``2 d' H g``. The paper removes the weights with the highest ``-w (H g)``, whose
    removal strengthens it most: here the highest score stays. Both derivatives are in evaluation mode.

    Args:
        temperature: by which outputs are divided before the loss, > 0; 200 in the authors' code. It is more than a
            scale: the higher it is, the less the curvature of the loss itself counts beside that of the network. 1 for
            losses whose outputs are no scores of classes.

    Reference: Wang, Zhang & Grosse, ICLR 2020, https://arxiv.org/abs/2002.07376, eq. 8

    Example:
        {grasp: {temperature: 1}}
    """

    temperature: Annotated[float, Field(gt=0)] = 200.0

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return w (H g) for every tensor; raises :class:`SpecError` where there is no batch."""
        product = seen.hessian_gradient(self.temperature)
        return {name: weight * product[name] for name, weight in seen.weights.items()}
