"""Criteria: which weights matter. Each is a small frozen object; evidence goes in, scores come out."""

from overparam.prune.criteria.base import CRITERIA, Criterion
from overparam.prune.criteria.gradient import Gradient
from overparam.prune.criteria.gradient_magnitude import GradientMagnitude
from overparam.prune.criteria.magnitude import Magnitude
from overparam.prune.criteria.random import Random

__all__ = ["CRITERIA", "Criterion", "Gradient", "GradientMagnitude", "Magnitude", "Random"]
