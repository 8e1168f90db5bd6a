"""Constraints: how a tensor of a network is made from what is trained; a mask is the simplest."""

from overparam.constraints.base import CONSTRAINTS, EVALUATION, TRAINING, Bits, Constraint, WeightContext, effective
from overparam.constraints.frozen import Frozen
from overparam.constraints.masked import Masked, masked

__all__ = [
    "CONSTRAINTS",
    "EVALUATION",
    "TRAINING",
    "Bits",
    "Constraint",
    "Frozen",
    "Masked",
    "WeightContext",
    "effective",
    "masked",
]
