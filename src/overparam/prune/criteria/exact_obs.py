"""ExactOBS: Optimal Brain Surgeon in each row of a layer, so that the layer's outputs stay close."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.criteria.layer_wise import moved, relative_costs
from overparam.prune.evidence import Evidence
from overparam.prune.layer_problem import layer_problems
from overparam.prune.surgeon import eliminate, inverse
from overparam.spec import spec


@CRITERIA.named("exact-obs")
@spec
class ExactOBS:
    """Rise of the layer's output error when the weight goes at its turn and its row makes up for it.

    Given what a layer reads, its output error is quadratic in each row of weights: linear layers and two-dimensional
    convolutions. In a row the cheapest weight always goes next, and the inverse follows exactly; the rows of all layers
    are ranked together by these rises, as shares of the mean square of the layer's outputs. What stays takes the best
    values for the masks. Biases take part if they are included. Inputs are those that the network as it was gives.

    Args:
        damping: of the second moments of the inputs, as a share of their mean diagonal. An input that is always zero
            has none, and the weights that read it are set to zero.

    Reference: Frantar, Singh & Alistarh, NeurIPS 2022, arXiv:2208.11580 (Optimal Brain Compression)

    Example:
        {exact-obs: {damping: 0.001}}
    """

    damping: Annotated[float, Field(ge=0)] = 0.01

    def __call__(self, seen: Evidence) -> Scores:
        """Return relative rises; tensors other than those of such layers get none."""
        problems = layer_problems(seen, self.damping)
        return Scores(relative_costs(problems, _costs), moved(problems))


def _costs(curvature: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
    """Leave out columns without weights, such as those of dead inputs: they go first, and cost nothing."""
    read = weights.any(0)
    costs = torch.zeros_like(weights)
    costs[:, read] = eliminate(inverse(curvature[read][:, read]), weights[:, read], alive[:, read])
    return costs
