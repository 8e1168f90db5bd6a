"""Making any module sparse: as a whole, batch-last inside, or one layer at a time."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError, in_words
from overparam.networks import tensor_roles, warn_of_collapse
from overparam.registry import suggest
from overparam.sparse.autograd import DTYPES
from overparam.sparse.hooks import has_hooks
from overparam.sparse.layers import SparseLayer
from overparam.sparse.network import SparseNetwork
from overparam.sparse.planner import AXES, Layers, example_ranks, plan, trace


def convert(
    model: nn.Module,
    masks: Mapping[str, Tensor] | None = None,
    *,
    dense: Collection[str] = (),
    example: Tensor | None = None,
    strict: bool = False,
) -> SparseNetwork:
    """Return a network that computes what ``model`` under its masks does, at a cost of order of the nonzeros.

    Linear layers and convolutions over one and two axes become sparse; all between them works on batch-last tiles, with
    transpositions only where the network begins and ends. What has no batch-last form runs as torch's own operation on
    batch-first tensors and is listed in ``fallbacks`` of the result.

    Args:
        model: any module that torch.fx can trace, on the CPU; it is not changed.
        masks: bool tensors by parameter name, as in ``{"fc1.weight": mask}``: True where a weight is there. Layers
            without one stay dense. None: the elements other than zero of all weights of linear layers and convolutions.
        dense: names of weights that stay dense tensors, such as those with few zeros; their masks, if any, hold in
            training too.
        example: a batch of inputs. It is needed only where the number of dimensions of a value decides and cannot be
            told from the layers, as with linear layers on (batch, length, features).
        strict: raise instead of falling back.

    Raises :class:`SpecError` for wrong masks or names, a model that torch.fx cannot trace (use :func:`replace_layers`),
    and with ``strict`` for fallbacks. Warns with :class:`~overparam.errors.LayerCollapseWarning` of layers left with
    fewer weights than outputs or inputs (:func:`overparam.networks.collapsed_layers`).
    """
    copied = _checked_copy(model)
    if type(model) in AXES:
        raise SpecError("model is a single layer; use overparam.sparse.SparseLayer.from_dense(layer, mask)")
    keys = tuple(model.state_dict())
    aliases = _aliases(copied)
    chosen = _masks(copied, masks, aliases)
    warn_of_collapse(chosen, tensor_roles(model))
    kept = {_known("dense", name, aliases) for name in dense}
    graphs = [trace(copied, training) for training in (False, True)]
    called = {str(node.target) for graph in graphs for node in graph.nodes if node.op == "call_module"}
    read = {str(node.target) for graph in graphs for node in graph.nodes if node.op == "get_attr"}
    read = {aliases.get(name, name) for name in read}
    sparse: dict[str, SparseLayer] = {}
    plain: set[str] = set()
    reasons: list[str] = []
    for path in sorted(called):
        layer: Any = copied.get_submodule(path)
        if type(layer) not in AXES or has_hooks(layer):
            continue
        name = aliases.get(f"{path}.weight")
        wanted = name in chosen and name not in kept
        reason = _obstacle(copied, path, layer, read, aliases) if wanted else None
        if wanted and reason is None:
            assert name is not None
            sparse[path] = SparseLayer.from_dense(layer, chosen.pop(name))
            continue
        plain.add(path)
        if reason is not None:
            reasons.append(f"{path}: {type(layer).__name__} stays dense, as {reason}")
    chosen = {name: mask for name, mask in chosen.items() if masks is not None or not bool(mask.all())}
    decided = Layers(
        frozenset(sparse), frozenset(plain), frozenset(name for name, first in aliases.items() if first in chosen)
    )
    plans = []
    for graph in graphs:
        ranks = {} if example is None else example_ranks(copy.deepcopy(copied), graph, example)
        plans.append(plan(copied, graph, decided, ranks, reasons))
    layers = _replace(copied, {id(copied.get_submodule(path)): layer for path, layer in sparse.items()})
    with torch.no_grad():
        for name, mask in chosen.items():
            parameter = copied.get_parameter(name)
            parameter.copy_(torch.where(mask, parameter, 0))
    network = SparseNetwork(
        copied,
        (plans[0], plans[1]),
        keys,
        layers,
        chosen,
        {name: first for name, first in aliases.items() if name not in layers},
        tuple(name for name in _weights(copied) if name not in chosen),
    )
    if strict and network.fallbacks:
        raise SpecError(
            f"strict: parts of the model have no batch-last form and would run dense: {'; '.join(network.fallbacks)}; "
            "change them or leave strict out"
        )
    return network


def replace_layers(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a copy of ``model`` with its linear layers and convolutions replaced by sparse ones, one by one.

    Each then transposes its input and output itself, which costs time; but nothing is asked of the model's ``forward``.
    ``masks`` are as for :func:`convert`; layers without one stay dense. Layers inside torch's own composite modules
    (such as nn.TransformerEncoderLayer), which read their weights, and layers that share theirs are left as they are.

    Raises :class:`SpecError` for wrong masks, and for a mask on what cannot be replaced.
    """
    copied = _checked_copy(model)
    if type(model) in AXES:
        raise SpecError("model is a single layer; use overparam.sparse.SparseLayer.from_dense(layer, mask)")
    aliases = _aliases(copied)
    chosen = _masks(copied, masks, aliases)
    found: dict[int, SparseLayer] = {}
    tracer = fx.Tracer()
    lists = nn.ModuleList | nn.ModuleDict  # leaves to torch.fx, but never called
    leaves = [
        path
        for path, part in copied.named_modules()
        if tracer.is_leaf_module(part, path) and not isinstance(part, lists)
    ]
    inside = tuple(f"{path}." if path else "" for path in leaves)
    for path, layer in copied.named_modules():
        name = aliases.get(f"{path}.weight")
        if type(layer) not in AXES or name not in chosen or path.startswith(inside):
            continue
        reason = _obstacle(copied, path, layer, set(), aliases)
        if reason is None:
            found[id(layer)] = SparseLayer.from_dense(layer, chosen.pop(name))
        elif masks is not None:
            raise SpecError(f"masks: {name!r} cannot become sparse, as {reason}; leave it out")
    if masks is not None and chosen:
        raise SpecError(
            f"masks: {next(iter(chosen))!r} is not the weight of a layer that can be replaced; leave it out"
        )
    _replace(copied, found)
    return copied


def _checked_copy(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module) or isinstance(model, SparseNetwork | SparseLayer):
        raise SpecError(f"model must be a torch.nn.Module that is not sparse yet, got {type(model).__name__}")
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise SpecError(f"model: {name!r} has no shape yet; call the model on a batch first")
        if parameter.device.type != "cpu":
            raise SpecError(f"model must be on the CPU, but {name!r} is on {parameter.device}; move it with .cpu()")
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise SpecError(
            f"model: {type(model).__name__} cannot be copied ({in_words(error)}); if torch.nn.utils.prune or another "
            "reparametrisation made its weights, remove that first"
        ) from error


def _aliases(model: nn.Module) -> dict[str, str]:
    """Return the first name of each parameter by each of its names."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(parameter), name)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }


def _known(argument: str, name: str, aliases: Mapping[str, str]) -> str:
    if name not in aliases:
        raise SpecError(f"{argument}: the model has no parameter {name!r}{suggest(name, aliases)}")
    return aliases[name]


def _masks(model: nn.Module, masks: Mapping[str, Tensor] | None, aliases: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the masks by the first names of their parameters, checked."""
    if masks is None:
        return {name: model.get_parameter(name).detach() != 0 for name in _weights(model)}
    found: dict[str, Tensor] = {}
    for name, mask in masks.items():
        first = _known("masks", name, aliases)
        shape = model.get_parameter(first).shape
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
            got = f"{mask.dtype} of {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise SpecError(f"masks: {name!r} must be a bool tensor of shape {tuple(shape)}, got {got}")
        if first in found and not torch.equal(found[first], mask):
            raise SpecError(f"masks: {name!r} and {first!r} are one parameter and need the same mask")
        found[first] = mask.detach().cpu().clone()
    return found


def _weights(model: nn.Module) -> list[str]:
    """Return the first names of the dense weights of linear layers and convolutions."""
    weights = {id(part.weight) for part in model.modules() if isinstance(part, nn.Linear | _ConvNd)}
    return [name for name, parameter in model.named_parameters() if id(parameter) in weights]


def _obstacle(model: nn.Module, path: str, layer: Any, read: Collection[str], aliases: Mapping[str, str]) -> str | None:
    """Return why a layer cannot be sparse; None if it can."""
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return f"its padding mode is {layer.padding_mode!r}"
    if layer.weight.dtype not in DTYPES:
        return f"its weight is {layer.weight.dtype}"
    for name, parameter in layer.named_parameters(recurse=False):
        owners = sum(any(own is parameter for own in part._parameters.values()) for part in model.modules())
        if owners > 1:
            return f"its {name} belongs to another layer, too"
        if aliases[f"{path}.{name}"] in read:
            return f"its {name} is used outside of it, too"
    return None


def _replace(model: nn.Module, found: Mapping[int, SparseLayer]) -> dict[str, str]:
    """Put sparse layers, by the ids of the dense ones, in their places; return their paths by their weights' names."""
    layers: dict[str, str] = {}
    first: dict[int, str] = {}
    for path, part in list(model.named_modules(remove_duplicate=False)):
        if id(part) in found:
            parent, _, name = path.rpartition(".")
            model.get_submodule(parent)._modules[name] = found[id(part)]
            layers[f"{path}.weight"] = first.setdefault(id(part), path)
    return layers
