"""Pruning: criteria score weights, scopes spread the count over layers, masks decide who stays."""

from overparam.prune.counts import apportion, exact_count
from overparam.prune.coverage import Coverage, coverage
from overparam.prune.criteria import (
    CRITERIA,
    OBD,
    Criterion,
    FirstAndLast,
    Gradient,
    GraSP,
    Magnitude,
    Random,
    Scores,
    SynFlow,
)
from overparam.prune.derivatives import gradients, hessian_diagonal, hessian_product
from overparam.prune.evidence import Evidence
from overparam.prune.hold import Hold, hold
from overparam.prune.masks import count_kept, density, empty_units, keep_top
from overparam.prune.modules import apply_masks, dense_masks, prune
from overparam.prune.patterns import PATTERNS, Heads, NofM, Pattern, Round, Units, Weights
from overparam.prune.rounds import new_masks
from overparam.prune.scopes import ERK, SCOPES, Counted, Global, PerLayer, Scope, Uniform, erdos_renyi_kernel
from overparam.prune.synaptic_flow import synaptic_flow

__all__ = [
    "CRITERIA",
    "ERK",
    "OBD",
    "PATTERNS",
    "SCOPES",
    "Counted",
    "Coverage",
    "Criterion",
    "Evidence",
    "FirstAndLast",
    "Global",
    "GraSP",
    "Gradient",
    "Heads",
    "Hold",
    "Magnitude",
    "NofM",
    "Pattern",
    "PerLayer",
    "Random",
    "Round",
    "Scope",
    "Scores",
    "SynFlow",
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
    "erdos_renyi_kernel",
    "exact_count",
    "gradients",
    "hessian_diagonal",
    "hessian_product",
    "hold",
    "keep_top",
    "new_masks",
    "prune",
    "synaptic_flow",
]
