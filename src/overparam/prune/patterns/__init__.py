"""Patterns: what is pruned together: single weights, or whole neurons and filters. Each is a small frozen object."""

from overparam.prune.patterns.base import PATTERNS, Pattern, Round
from overparam.prune.patterns.heads import Heads
from overparam.prune.patterns.n_of_m import NofM
from overparam.prune.patterns.units import Units
from overparam.prune.patterns.weights import Weights

__all__ = ["PATTERNS", "Heads", "NofM", "Pattern", "Round", "Units", "Weights"]
