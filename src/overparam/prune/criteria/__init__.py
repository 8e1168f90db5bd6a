"""Criteria: which weights matter. Each is a small frozen object; evidence goes in, scores come out."""

from overparam.prune.criteria.base import CRITERIA, Criterion, Scores
from overparam.prune.criteria.exact_obs import ExactOBS
from overparam.prune.criteria.first_and_last import (
    FirstAndLast,
    LargeFinalDifferentSign,
    LargeFinalSameSign,
    LargeInit,
    LargeInitLargeFinal,
    MagnitudeIncrease,
    Movement,
    SmallFinal,
    SmallInit,
    SmallInitSmallFinal,
)
from overparam.prune.criteria.gradient import Gradient
from overparam.prune.criteria.gradient_magnitude import GradientMagnitude
from overparam.prune.criteria.grasp import GraSP
from overparam.prune.criteria.l_obs import LOBS
from overparam.prune.criteria.magnitude import Magnitude
from overparam.prune.criteria.norm_scale import NormScale
from overparam.prune.criteria.obd import OBD
from overparam.prune.criteria.obs import OBS
from overparam.prune.criteria.random import Random
from overparam.prune.criteria.refit import Refit
from overparam.prune.criteria.reversed import Reversed
from overparam.prune.criteria.sparsegpt import SparseGPT
from overparam.prune.criteria.standardised_magnitude import StandardisedMagnitude
from overparam.prune.criteria.synflow import SynFlow
from overparam.prune.criteria.taylor import Taylor
from overparam.prune.criteria.woodfisher import WoodFisher

__all__ = [
    "CRITERIA",
    "LOBS",
    "OBD",
    "OBS",
    "Criterion",
    "ExactOBS",
    "FirstAndLast",
    "GraSP",
    "Gradient",
    "GradientMagnitude",
    "LargeFinalDifferentSign",
    "LargeFinalSameSign",
    "LargeInit",
    "LargeInitLargeFinal",
    "Magnitude",
    "MagnitudeIncrease",
    "Movement",
    "NormScale",
    "Random",
    "Refit",
    "Reversed",
    "Scores",
    "SmallFinal",
    "SmallInit",
    "SmallInitSmallFinal",
    "SparseGPT",
    "StandardisedMagnitude",
    "SynFlow",
    "Taylor",
    "WoodFisher",
]
