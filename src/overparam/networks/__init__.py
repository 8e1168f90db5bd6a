"""Architectures, their initialisations, and what their tensors are for."""

from __future__ import annotations

from overparam.networks import (  # noqa: F401  (they register themselves)
    conv,
    densenet,
    gru,
    lenet,
    mlp,
    resnet,
    transformer,
    vgg,
)
from overparam.networks.architecture import NETWORKS, Architecture, architecture
from overparam.networks.collapse import collapsed_layers, warn_of_collapse
from overparam.networks.cost import applications, multiply_adds
from overparam.networks.initialise import Init, initialise
from overparam.networks.network import Network
from overparam.networks.roles import PRUNABLE, ROLES, first_names, prunable, roles_by_name, tensor_roles
from overparam.networks.weight_files import read_weights, with_weights

__all__ = [
    "NETWORKS",
    "PRUNABLE",
    "ROLES",
    "Architecture",
    "Init",
    "Network",
    "applications",
    "architecture",
    "collapsed_layers",
    "first_names",
    "initialise",
    "multiply_adds",
    "prunable",
    "read_weights",
    "roles_by_name",
    "tensor_roles",
    "warn_of_collapse",
    "with_weights",
]
