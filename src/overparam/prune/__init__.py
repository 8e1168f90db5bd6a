"""Pruning: criteria score weights, scopes spread the count over layers, masks decide who stays."""

from overparam.prune.counts import apportion, exact_count
from overparam.prune.coverage import Coverage, coverage
from overparam.prune.criteria import CRITERIA, Criterion, Gradient, Magnitude, Random
from overparam.prune.evidence import Evidence, gradients
from overparam.prune.hold import Hold, hold
from overparam.prune.masks import count_kept, density, empty_units, keep_top
from overparam.prune.modules import apply_masks, dense_masks, prune
from overparam.prune.patterns import PATTERNS, Pattern, Round, Units, Weights
from overparam.prune.rounds import new_masks
from overparam.prune.scopes import ERK, SCOPES, Counted, Global, PerLayer, Scope, Uniform

__all__ = [
    "CRITERIA",
    "ERK",
    "PATTERNS",
    "SCOPES",
    "Counted",
    "Coverage",
    "Criterion",
    "Evidence",
    "Global",
    "Gradient",
    "Hold",
    "Magnitude",
    "Pattern",
    "PerLayer",
    "Random",
    "Round",
    "Scope",
    "Uniform",
    "Units",
    "Weights",
    "apply_masks",
    "apportion",
    "count_kept",
    "coverage",
    "dense_masks",
    "density",
    "empty_units",
    "exact_count",
    "gradients",
    "hold",
    "keep_top",
    "new_masks",
    "prune",
]
