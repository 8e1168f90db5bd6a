"""What may be computed otherwise than by a module's own ``forward`` and its dense layers: only what is proven.

A network may be computed as a whole if its forward is known: it consists of nothing but ``nn.Sequential``, the blocks
of overparam's own networks, and torch's own layers, each as torch made it. Of any other network the ``forward`` runs as
it is, and a sparse layer may take a dense one's place where nothing but the layer itself sees its weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from overparam.networks.resnet import Basic, Bottleneck
from overparam.sparse.layers.autograd import DTYPES
from overparam.sparse.layers.hooks import has_hooks
from overparam.sparse.networks.reach import COMPILED, Reach, address, reach, reach_of

AXES: dict[type[nn.Module], int] = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2}
"""Layers that can be sparse, with the number of their spatial axes."""

CALL = nn.Module.__call__
BLOCKS: tuple[type[nn.Module], ...] = (nn.Sequential, Basic, Bottleneck)
"""Modules with others inside whose forward is known."""

CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Classes of torch that leave the weights of what is inside alone."""

SEE_WEIGHTS = frozenset(
    (
        *("weight", "_parameters", "parameters", "named_parameters", "get_parameter", "state_dict", "load_state_dict"),
        *("Linear", "Conv1d", "Conv2d", "_ConvNd", "functional_call", "autocast"),
    )
)
"""Words of code that may tell a sparse layer from a dense one: by its weight, its class, or its precision."""


@dataclass(frozen=True)
class Judgement:
    """What was found out about a module."""

    unknown: str | None  # why its forward is not known, so that it cannot be computed as a whole
    layers: Mapping[str, str | None]  # by path, each layer that could be sparse by its kind; with why it cannot be


def judge(model: nn.Module, *others: object) -> Judgement:
    """Find out what may be done with ``model``; nothing of it is run.

    ``others`` are functions that may hold parts of it too, such as a loss.
    """
    own = {id(part) for part in model.modules()}
    why = unknown(model)
    reaches = [] if why is None else [(path, part, reach(part, own)) for path, part in model.named_modules()]
    outside = [reach_of(other, own) for other in others]
    seen: dict[int, str] = {}
    for path, part, known in reaches:
        if (reason := _reason(part, known)) is not None:
            inside = [*part.children(), *(held for held in known.modules if held is not part)]
            seen |= {id(each): f"{_called(path, part)} {reason}" for held in inside for each in held.modules()}
    for other, known in zip(others, outside, strict=True):
        words = SEE_WEIGHTS & known.words
        if words and any(id(held) in own for held in known.modules):
            seen |= dict.fromkeys(own, f"{getattr(other, '__name__', other)} mentions {min(words)!r} in its code")
    holders = _holders(model, [tensor for *_, known in reaches for tensor in known.tensors], outside)
    layers = {path: part for path, part in model.named_modules() if type(part) in AXES}
    return Judgement(why, {path: _obstacle(part, holders) or seen.get(id(part)) for path, part in layers.items()})


def unknown(model: nn.Module) -> str | None:
    """Return why a forward is not known; None if it is."""
    if type(model) not in BLOCKS and _of_torch(type(model)):
        return f"{type(model).__name__} is a layer by itself"
    for path, part in model.named_modules():
        kind = type(part)
        if kind not in BLOCKS and (not _of_torch(kind) or any(True for _ in part.children())):
            return f"the forward of {_called(path, part)} is its own"
        if (reason := _altered(part)) is not None:
            return f"{_called(path, part)} {reason}"
    return None


def _altered(part: nn.Module) -> str | None:
    """Return how a module differs from what its class makes; None if it does not."""
    kind = type(part)
    if has_hooks(part):
        return "has hooks"
    if any(parameter is not None and has_hooks(parameter) for parameter in part._parameters.values()):
        return "has a parameter with hooks"
    if any(hasattr(kind, name) for name in vars(part)) or not _own_forward(kind):
        return "has a method that was replaced"
    if kind in AXES and (vars(part).keys() != _attributes(AXES[kind]) or part._buffers or part._modules):
        return "has attributes that were added"
    if kind in AXES and part._parameters.keys() != {"weight", "bias"}:
        return "has other parameters than a weight and a bias"
    return None


def _own_forward(kind: type[nn.Module]) -> bool:
    """Tell whether a class of torch has torch's own forward."""
    return not _of_torch(kind) or (str(kind.forward.__module__).startswith("torch.") and kind.__call__ is CALL)


@cache
def _attributes(axes: int) -> frozenset[str]:
    """Return the names of the attributes of a layer over so many axes as torch makes it."""
    with torch.device("meta"):
        return frozenset(vars((nn.Linear(1, 1), nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1))[axes]))


def _of_torch(kind: type[nn.Module]) -> bool:
    return kind.__module__.startswith("torch.nn.modules.")


def _called(path: str, part: nn.Module) -> str:
    return f"{path} ({type(part).__name__})" if path else type(part).__name__


def _reason(part: nn.Module, known: Reach) -> str | None:
    """Return why what is inside a module, or held by it, must stay what it is."""
    of_torch = [each for each in type(part).__mro__ if each.__module__.startswith("torch.") and each not in CONTAINERS]
    if of_torch:
        return "is torch's own and reads the weights of what is inside"
    if COMPILED in known.words or part._compiled_call_impl is not None:
        return "is compiled, or its forward is no Python code"
    words = SEE_WEIGHTS & known.words
    return f"mentions {min(words)!r} in its code" if words else None


def _holders(model: nn.Module, held: Iterable[Tensor], outside: Iterable[Reach]) -> Counter[int]:
    """Return how often the memory of each tensor is held, by its address: by modules as a parameter, or otherwise."""
    found = Counter(address(each) for part in model.modules() for each in part._parameters.values() if each is not None)
    found.update({address(each) for each in [*held, *(tensor for reach in outside for tensor in reach.tensors)]})
    return found


def _obstacle(layer: Any, holders: Mapping[int, int]) -> str | None:
    """Return why a layer cannot be sparse by what it is; None if it can."""
    if (altered := _altered(layer)) is not None:
        return f"it {altered}"
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return f"its padding mode is {layer.padding_mode!r}"
    if layer.weight.dtype not in DTYPES:
        return f"its weight is {layer.weight.dtype}"
    if layer.weight.numel() and holders[address(layer.weight)] > 1:
        return "its weight is held elsewhere, too"
    return None
