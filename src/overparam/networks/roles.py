"""What each parameter of a module is for, so that pruning can say "all but the output layer"."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from overparam.networks.forward import LAYERS, record

ROLES = ("output", "conv", "linear", "embedding", "norm", "bias", "other")
"""All roles; a tensor that several layers share has the one that stands first here."""

PRUNABLE = ("output", "conv", "linear")
"""The roles of tensors that carry masks."""

_NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def tensor_roles(module: nn.Module, sample: Tensor | None = None) -> dict[str, str]:
    """Return the role of each parameter, by its name, in the order of ``module.named_parameters()``.

    ``conv`` and ``linear``: weights of convolutional and linear layers, the latter with the input projections
    of ``nn.MultiheadAttention``; ``output``: the weight of the output layer; ``bias``; ``norm``: scales and
    shifts of normalisation layers; ``embedding``; ``other``. A tensor that several layers share appears once.

    The output layer is found by running ``sample``, a batch ``(N, ...)``, through the module: it is the
    linear or convolutional layer that returned the module's output, else the one that ran last. Without a
    sample it is the linear or convolutional layer that was registered last. A module that fails on the sample
    raises :class:`SpecError`.
    """
    output = _last_registered(module) if sample is None else _last_run(module, sample)
    found: dict[int, set[str]] = {}
    for owner in module.modules():
        for leaf, parameter in owner.named_parameters(recurse=False, remove_duplicate=False):
            role = "output" if owner is output and leaf == "weight" else _role(owner, leaf)
            found.setdefault(id(parameter), set()).add(role)
    return {name: min(found[id(parameter)], key=ROLES.index) for name, parameter in module.named_parameters()}


def prunable(roles: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the tensors that carry masks: weights of linear, conv and output layers."""
    return tuple(name for name, role in roles.items() if role in PRUNABLE)


def _role(owner: nn.Module, leaf: str) -> str:
    if isinstance(owner, _NORMS):
        return "norm"
    if leaf == "bias" or leaf.startswith("bias_") or leaf.endswith("_bias"):
        return "bias"
    if isinstance(owner, nn.MultiheadAttention) and leaf.endswith("proj_weight"):
        return "linear"
    if leaf == "weight":
        if isinstance(owner, _ConvNd):
            return "conv"
        if isinstance(owner, nn.Linear):
            return "linear"
        if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
            return "embedding"
    return "other"


def _last_registered(module: nn.Module) -> nn.Module | None:
    layers = [part for part in module.modules() if isinstance(part, LAYERS)]
    return layers[-1] if layers else None


def _last_run(module: nn.Module, sample: Tensor) -> nn.Module | None:
    output, calls = record(module, sample)
    ending = [call for call in calls if call.output is output] or calls
    return ending[-1].layer if ending else None
