"""Layer-wise Optimal Brain Surgeon, with one ranking."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from overparam.prune.criteria.base import CRITERIA, Scores
from overparam.prune.criteria.layer_wise import moved, relative_costs
from overparam.prune.evidence import Evidence
from overparam.prune.layer_problem import layer_problems
from overparam.prune.surgeon import inverse
from overparam.spec import spec


@CRITERIA.named("l-obs")
@spec
class LOBS:
    """Rise of the layer's output error when this weight alone goes, w^2 / 2 / (H^-1)_qq.

    As :class:`~overparam.prune.criteria.exact_obs.ExactOBS`, but weights are ranked once, before any has gone. What
    stays takes the best values for the masks, where the published code adds up updates that do not know of each other.

    Args:
        damping: of the second moments of the inputs, as a share of their mean diagonal.

    Reference: Dong, Chen & Pan, NIPS 2017, arXiv:1705.07565 (Layer-wise Optimal Brain Surgeon)

    Example:
        {l-obs: {damping: 0.001}}
    """

    damping: Annotated[float, Field(ge=0)] = 0.01

    def __call__(self, seen: Evidence) -> Scores:
        """Return relative rises; tensors other than those of linear layers and convolutions get none."""
        problems = layer_problems(seen, self.damping)
        return Scores(relative_costs(problems, _costs), moved(problems))


def _costs(curvature: Tensor, weights: Tensor, alive: Tensor) -> Tensor:
    return weights.square() / (2 * inverse(curvature).diagonal())
