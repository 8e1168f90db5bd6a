"""SynFlow: weights matter through which much flows."""

from dataclasses import dataclass

from torch import Tensor

from overparam.prune.criteria.base import CRITERIA
from overparam.prune.evidence import Evidence


@CRITERIA.named("synflow")
@dataclass(frozen=True)
class SynFlow:
    """Synaptic flow through the weight, |w| dR/d|w|, without data.

    R is the sum over all paths from inputs to outputs of the products of their absolute weights, see
    :func:`overparam.prune.synaptic_flow`. In float64. It is meant for many rounds (``rounds: 100``), in which no layer
    loses its last weight as long as others can go; in one round it prunes large layers too much.

    Reference: Tanaka, Kunin, Yamins & Ganguli, NeurIPS 2020, https://arxiv.org/abs/2006.05467
    """

    def __call__(self, seen: Evidence) -> dict[str, Tensor]:
        """Return |w| dR/d|w| for every tensor."""
        return {name: weight.double().abs() * seen.flow[name] for name, weight in seen.weights.items()}
