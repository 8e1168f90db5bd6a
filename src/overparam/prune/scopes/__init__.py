"""Scopes: how the number of weights to keep is spread over tensors. Each is a small frozen object."""

from overparam.prune.scopes.base import SCOPES, Counted, Scope
from overparam.prune.scopes.erk import ERK, erdos_renyi_kernel
from overparam.prune.scopes.global_ import Global
from overparam.prune.scopes.per_layer import PerLayer
from overparam.prune.scopes.uniform import Uniform

__all__ = ["ERK", "SCOPES", "Counted", "Global", "PerLayer", "Scope", "Uniform", "erdos_renyi_kernel"]
