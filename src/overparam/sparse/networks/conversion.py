"""Making any module sparse: as a whole, batch-last inside, where that is proven; else one layer at a time."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError, in_words
from overparam.networks import first_names, tensor_roles, warn_of_collapse
from overparam.prune.modules import by_first_names, parameters_under
from overparam.registry import suggest
from overparam.sparse.layers.hooks import carry_over
from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.networks.graph import fused
from overparam.sparse.networks.judge import AXES, Judgement, judge
from overparam.sparse.networks.network import SparseNetwork, dense_weights
from overparam.sparse.networks.reach import address, reach, reach_of


def convert(
    model: nn.Module, masks: Mapping[str, Tensor] | None = None, *, dense: Collection[str] = (), strict: bool = False
) -> SparseNetwork:
    """Return a network that computes what ``model`` under its masks does, at a cost of order of the nonzeros.

    Linear layers and convolutions over one and two axes become sparse. A network whose ``forward`` is known (``whole``
    of the result) is computed on batch-last tiles, with transpositions only where it begins and ends; what has no
    batch-last form runs as torch's own operation. It is known of nn.Sequential, nested as one likes, of torch's own
    layers, and of the built-in networks, as long as nothing about them was changed: no hooks, parametrisations or
    replaced methods. Of any other module the ``forward`` runs as it is, with sparse layers in the place of dense ones,
    where nothing but the layer sees its weight. What is not sparse is listed in ``fallbacks``, with its reason.

    Args:
        model: any module on the CPU; it is not changed, and a forward that is not known is not run.
        masks: bool tensors by parameter name, as in ``{"fc1.weight": mask}``: True where a weight is there. Layers
            without one stay dense. None: the elements other than zero of all weights of linear layers and convolutions.
        dense: names of weights that stay dense tensors; their masks, if any, hold in training too.
        strict: raise unless the network is computed as a whole, with nothing dense but what is meant to be.

    Raises :class:`SpecError` for wrong masks or names, a model that cannot be copied, and with ``strict`` for
    fallbacks. Warns with :class:`~overparam.errors.LayerCollapseWarning` of layers left with fewer weights than outputs
    or inputs (:func:`overparam.networks.collapsed_layers`).
    """
    network = in_place(_copied(model), masks, dense=dense)
    network.hold()
    warn_of_collapse(network.masks(), tensor_roles(model))
    if strict and network.fallbacks:
        raise SpecError(
            f"strict: parts of the model would not be computed batch-last and sparse: {'; '.join(network.fallbacks)}; "
            "change them or leave strict out"
        )
    return network


def in_place(
    model: nn.Module,
    masks: Mapping[str, Tensor] | None = None,
    *,
    dense: Collection[str] = (),
    judgement: Judgement | None = None,
) -> SparseNetwork:
    """Turn layers of ``model`` itself into sparse ones and return the network around it; see :func:`convert`.

    Whoever holds a layer holds the sparse one. Masks of dense parameters are not held yet.
    """
    judgement = judgement or judge(model)
    keys, first = tuple(model.state_dict()), first_names(model)
    chosen = _masks(model, masks)
    lacking = next((name for name in dense if name not in first), None)
    if lacking is not None:
        raise SpecError(f"dense: the model has no parameter {lacking!r}{suggest(lacking, first)}")
    kept = {first[name] for name in dense}
    sparse, reasons = _sparse(model, {name: mask for name, mask in chosen.items() if name not in kept}, judgement)
    if masks is None:
        reasons += [f"{path} stays dense, as its weight is no parameter of its own" for path in _made_weights(model)]
    if judgement.unknown is None:
        whole, more = fused(model, sparse)
        reasons += more
    else:
        whole = None
        reasons.insert(0, f"the network runs layer by layer, as {judgement.unknown}")
    layers = {first[_weight(path)]: path for path in sparse}
    others = {name: mask for name, mask in chosen.items() if name not in layers}
    if masks is None:
        others = {name: mask for name, mask in others.items() if not bool(mask.all())}
    for path, layer in sparse.items():
        become(model.get_submodule(path), layer)
    return SparseNetwork(model, whole, keys, first, layers, others, reasons)


def replace_layers(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a copy of ``model``, of its class, whose linear layers and convolutions with a mask are sparse ones.

    Its ``forward`` runs as it is. Raises :class:`SpecError` for wrong masks, and for a mask on what cannot be sparse,
    which only :func:`convert` holds.
    """
    network = in_place(_copied(model), masks)
    unable = [each for each in network.fallbacks if " stays dense, as " in each]
    if masks is not None and unable:
        more = f"; {len(unable) - 1} more" if len(unable) > 1 else ""
        held = "take convert(model, masks), which holds the masks of dense weights, or leave these masks out"
        raise SpecError(f"masks: {unable[0]}{more}; {held}")
    return network.model


def _sparse(
    model: nn.Module, masks: Mapping[str, Tensor], judgement: Judgement
) -> tuple[dict[str, SparseLayer], list[str]]:
    """Return the sparse layers for masks, by path, and for each mask that gets none the reason."""
    paths = {_weight(path): path for path in judgement.layers}
    other = "it is not the weight of a linear layer or a convolution over one or two axes"
    obstacles = {name: judgement.layers[paths[name]] if name in paths else other for name in masks}
    able = {paths[name]: mask for name, mask in masks.items() if obstacles[name] is None}
    layers: Any = {path: model.get_submodule(path) for path in able}
    found = {path: SparseLayer.from_dense(layers[path], mask) for path, mask in able.items()}
    return found, [f"{name} stays dense, as {reason}" for name, reason in obstacles.items() if reason is not None]


def become(layer: nn.Module, other: nn.Module) -> None:
    """Make a layer what another one is, for all who hold it; its bias stays the same parameter."""
    bias = layer._parameters.get("bias")
    layer.__class__ = type(other)
    vars(layer).clear()
    layer.__setstate__(vars(other))  # type: ignore[no-untyped-call]
    layer._parameters["bias"] = bias


def _weight(path: str) -> str:
    return f"{path}.weight" if path else "weight"


def _copied(model: nn.Module) -> nn.Module:
    """Return a copy of a module that can be converted; SpecError if it cannot be, or if a copy would not be one."""
    if not isinstance(model, nn.Module) or isinstance(model, SparseNetwork | SparseLayer):
        raise SpecError(f"model must be a torch.nn.Module that is not sparse yet, got {type(model).__name__}")
    if type(model) in AXES:
        raise SpecError("model is a single layer; use overparam.sparse.SparseLayer.from_dense(layer, mask)")
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise SpecError(f"model: {name!r} has no shape yet; call the model on a batch first")
        if parameter.device.type != "cpu":
            raise SpecError(f"model must be on the CPU, but {name!r} is on {parameter.device}; move it with .cpu()")
    _check_copy(model)
    try:
        return carry_over(model, copy.deepcopy(model))
    except Exception as error:
        raise SpecError(
            f"model: {type(model).__name__} cannot be copied ({in_words(error)}); if torch.nn.utils.prune or another "
            "reparametrisation made its weights, remove that first"
        ) from error


def _check_copy(model: nn.Module) -> None:
    """Raise SpecError if a copy of the model would not do the same.

    It has the same functions, which may refer to parts of the original; and parameters' copies share no memory.
    """
    own = {id(part) for part in model.modules()}
    reaches = [(path, reach(part, own)) for path, part in model.named_modules()]
    parameters = {address(each): name for name, each in model.named_parameters() if each.numel()}
    held = [*model.parameters(), *(each for _, known in reaches for each in known.tensors)]
    shared = Counter(address(each) for each in {id(each): each for each in held}.values())
    for place, name in parameters.items():
        if shared[place] > 1:
            raise SpecError(
                f"model: {name!r} shares its memory with another tensor that the model holds, which a copy would not; "
                "let both be one parameter, or make the other from it where it is needed"
            )
    for path, known in reaches:
        for function in known.functions:
            found = reach_of(function, own)
            if any(id(each) in own for each in found.modules) or any(map(parameters.get, map(address, found.tensors))):
                holder = repr(path) if path else type(model).__name__
                raise SpecError(
                    f"model: {function.__qualname__}, a function that {holder} holds, refers to parts of the model, "
                    "and a copy would go on using the original's; make it a method of the module"
                )


def _masks(model: nn.Module, masks: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return the masks by the first names of their parameters, checked."""
    if masks is None:
        return {name: model.get_parameter(name).detach() != 0 for name in dense_weights(model)}
    found = by_first_names(model, masks)
    parameters_under(model, found)  # which have the masks' shapes
    return {name: mask.detach().cpu().clone() for name, mask in found.items()}


def _made_weights(model: nn.Module) -> list[str]:
    """Return the paths of layers whose weight a parametrisation or a hook makes; asking for it might change it."""
    layers = ((path, part) for path, part in model.named_modules() if isinstance(part, nn.Linear | _ConvNd))
    return [path for path, part in layers if part._parameters.get("weight") is None]
