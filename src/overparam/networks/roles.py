"""What each parameter of a module is for, so that pruning can say "all but the output layer"."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from overparam.errors import SpecError
from overparam.networks.forward import LAYERS, Inputs, record, tensors_in

ROLES = ("output", "conv", "linear", "recurrent", "embedding", "norm", "bias", "parametrised", "quantised", "other")
"""All roles; a tensor that several layers share has the one that stands first here."""

PRUNABLE = ("output", "conv", "linear", "recurrent")
"""The roles of tensors that carry masks unless others are asked for."""

_NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_OUTPUTS = (*LAYERS, nn.Bilinear)
_LAYERS: Mapping[type[nn.Module], str] = {
    _ConvNd: "conv",
    nn.Linear: "linear",
    nn.Bilinear: "linear",
    nn.Embedding: "embedding",
    nn.EmbeddingBag: "embedding",
}


def tensor_roles(module: nn.Module, sample: Inputs | None = None) -> dict[str, str]:
    """Return the role of each parameter, by its name, in the order of ``module.named_parameters()``.

    * ``conv``, ``linear``: weights of convolutional and linear layers, the latter with bilinear ones and the input
      projections of ``nn.MultiheadAttention``; ``output``: the weight of the output layer
    * ``recurrent``: all weights of ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` and their cells, from input and from state
    * ``embedding``; ``bias``; ``norm``: scales and shifts of normalisation layers
    * ``parametrised``: what a weight is computed from under ``torch.nn.utils.parametrizations`` (weight norm, spectral
      norm, orthogonal), their older forms, and ``torch.nn.utils.prune``
    * ``quantised``: whole numbers that stand for weights
    * ``other``

    A tensor that several layers share appears once, with the foremost of its roles in :data:`ROLES`.

    The output layer is found by running ``sample`` through the module: a batch ``(N, ...)``, several inputs as a tuple,
    or keyword arguments as a mapping. It is the linear, bilinear or convolutional layer that returned (the first of)
    the module's outputs, else the one that ran last. Without a sample it is the one that was registered last.

    Raises :class:`SpecError` for a module that fails on the sample, or with lazy parameters.
    """
    return foremost(roles_by_name(module, sample), first_names(module))


def roles_by_name(module: nn.Module, sample: Inputs | None = None) -> dict[str, str]:
    """Return a role for each name of each parameter: a tensor that layers share has a name, and a role, in each."""
    check_shapes(module)
    output = _last_registered(module) if sample is None else _last_run(module, sample)
    return {
        f"{path}.{leaf}".removeprefix("."): _role(owner, leaf, parameter, owner is output)
        for path, owner in module.named_modules(remove_duplicate=False)
        for leaf, parameter in owner.named_parameters(recurse=False, remove_duplicate=False)
    }


def first_names(module: nn.Module) -> dict[str, str]:
    """Return for each name of a parameter, as ``state_dict`` lists them, the one of ``named_parameters()``.

    Raises :class:`SpecError` for what is no module.
    """
    if not isinstance(module, nn.Module):
        raise SpecError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(parameter), name)
        for name, parameter in module.named_parameters(remove_duplicate=False)
    }


def foremost(roles: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Return the one role of each tensor, given the roles of all its names and ``names`` (name -> first name)."""
    found: dict[str, str] = {}
    for name, role in roles.items():
        first = names.get(name, name)
        found[first] = min(found.get(first, role), role, key=_rank)
    return found


def prunable(roles: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the tensors that carry masks: weights of linear, conv, recurrent and output layers."""
    return tuple(name for name, role in roles.items() if role in PRUNABLE)


def check_shapes(module: nn.Module) -> None:
    """Raise :class:`SpecError` if a parameter is lazy: it has no shape until the module is called."""
    for name, parameter in module.named_parameters():
        if is_lazy(parameter):
            raise SpecError(f"the module's {name!r} has no shape yet; call the module on a batch first")


def _rank(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _role(owner: nn.Module, leaf: str, parameter: nn.Parameter, output: bool) -> str:
    if isinstance(owner, _NORMS):
        return "norm"
    if leaf == "bias" or leaf.startswith("bias_") or leaf.endswith("_bias"):
        return "bias"
    if not (parameter.is_floating_point() or parameter.is_complex()):
        return "quantised"
    if isinstance(owner, ParametrizationList) or _computed(owner, leaf):
        return "parametrised"
    if isinstance(owner, nn.MultiheadAttention) and leaf.endswith("proj_weight"):
        return "linear"
    if isinstance(owner, nn.RNNBase | RNNCellBase):
        return "recurrent"
    kinds = (role for kind, role in _LAYERS.items() if leaf == "weight" and isinstance(owner, kind))
    return "output" if output and leaf == "weight" else next(kinds, "other")


def _computed(owner: nn.Module, leaf: str) -> bool:
    """Tell whether a hook of torch's computes a tensor such as ``weight`` from a parameter such as ``weight_v``."""
    name, _, suffix = leaf.rpartition("_")
    return suffix in ("orig", "g", "v") and isinstance(vars(owner).get(name), Tensor)


def _last_registered(module: nn.Module) -> nn.Module | None:
    layers = [part for part in module.modules() if isinstance(part, _OUTPUTS)]
    return layers[-1] if layers else None


def _last_run(module: nn.Module, sample: Inputs) -> nn.Module | None:
    output, calls = record(module, sample, _OUTPUTS)
    for tensor in tensors_in(output):
        ending = [call for call in calls if call.output is tensor]
        if ending:
            return ending[-1].layer
    return calls[-1].layer if calls else None
