"""Constraints: how a tensor of a network is made from what is trained; a mask is the simplest."""

from overparam.constraints.base import (
    CONSTRAINTS,
    EVALUATION,
    SAMPLED,
    TRAINING,
    Bits,
    Constraint,
    WeightContext,
    effective,
)
from overparam.constraints.frozen import Frozen
from overparam.constraints.masked import Masked, masked
from overparam.constraints.quantised import Quantised, Uniform
from overparam.constraints.sr_ste import SRSTE
from overparam.constraints.supermask import Supermask
from overparam.constraints.through import straight_through

__all__ = [
    "CONSTRAINTS",
    "EVALUATION",
    "SAMPLED",
    "SRSTE",
    "TRAINING",
    "Bits",
    "Constraint",
    "Frozen",
    "Masked",
    "Quantised",
    "Supermask",
    "Uniform",
    "WeightContext",
    "effective",
    "masked",
    "straight_through",
]
