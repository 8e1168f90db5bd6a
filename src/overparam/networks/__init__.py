"""Architectures, their initialisations, and what their tensors are for."""

from __future__ import annotations

from overparam.networks import conv, lenet, mlp, resnet, vgg  # noqa: F401  (they register themselves)
from overparam.networks.architecture import NETWORKS, Architecture, architecture
from overparam.networks.cost import applications, multiply_adds
from overparam.networks.initialise import Init, initialise
from overparam.networks.network import Network
from overparam.networks.roles import PRUNABLE, ROLES, prunable, tensor_roles

__all__ = [
    "NETWORKS",
    "PRUNABLE",
    "ROLES",
    "Architecture",
    "Init",
    "Network",
    "applications",
    "architecture",
    "initialise",
    "multiply_adds",
    "prunable",
    "tensor_roles",
]
