"""Dead units: those that no output depends on, or that always give the same number."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from overparam.networks.forward import Inputs, record
from overparam.networks.units import Group, Place


def dead_units(module: nn.Module, candidates: Sequence[Group], sample: Inputs) -> tuple[list[Group], nn.Module]:
    """Return the groups that are dead, and a copy of ``module`` whose biases hold what constant units contributed.

    A group is dead if all weights that read its units are zero, or if all weights that its units read are zero and the
    constants that they give can go into the biases of what reads them. A layer keeps at least one unit.
    """
    while True:
        trial = copy.deepcopy(module)
        dead = _silenced(trial, candidates, sample)
        spared = _spared(module, dead)
        if not spared:
            return dead, trial
        candidates = [group for group in candidates if group not in spared]


def by_layer(places: Iterable[Place]) -> dict[str, set[int]]:
    """Return the positions of ``places`` by the path of their layer."""
    found: dict[str, set[int]] = {}
    for place in places:
        found.setdefault(place.path, set()).add(place.position)
    return found


def unread(groups: Sequence[Group], parts: Mapping[str, nn.Module]) -> list[Group]:
    """Return the groups whose units no weight reads that is not zero."""
    read = _nonzero(parts, {place.path for group in groups for place in group.inputs}, 1)
    return [group for group in groups if not any(read[place.path][place.position] for place in group.inputs)]


def silent_channels(group: Group, parts: Mapping[str, nn.Module]) -> list[Place]:
    """Return the depth-wise channels of a group whose weights are zero though its units read something and are read."""
    fed = _nonzero(parts, {unit.path for unit in group.outputs}, 0)
    alive = any(fed[unit.path][unit.position] for unit in group.outputs) and not unread([group], parts)
    depthwise = [place for place in group.channels if alive and isinstance(parts[place.path], _ConvNd)]
    return [place for place in depthwise if not _weight(parts[place.path])[place.position].any()]


def _spared(module: nn.Module, dead: Sequence[Group]) -> list[Group]:
    """Return a group of each layer of which all units are dead."""
    gone = by_layer(unit for group in dead for unit in group.outputs)
    whole = {path for path, each in gone.items() if len(each) == len(_weight(module.get_submodule(path)))}
    spared: list[Group] = []
    for group in dead:
        layers = {unit.path for unit in group.outputs}
        if whole & layers:
            spared.append(group)
            whole -= layers
    return spared


@torch.no_grad()
def _silenced(trial: nn.Module, candidates: Sequence[Group], sample: Inputs) -> list[Group]:
    """Return the groups that are dead, in the order in which that shows; ``trial`` loses what they read and give."""
    parts = dict(trial.named_modules())
    rest, dead = list(candidates), list[Group]()
    while found := unread(rest, parts) or _constant(trial, parts, rest, sample):
        for path, positions in by_layer(unit for group in found for unit in group.outputs).items():
            _weight(parts[path])[list(positions)] = 0
        for path, positions in by_layer(place for group in found for place in group.inputs).items():
            _weight(parts[path])[:, list(positions)] = 0
        dead += found
        gone = {id(group) for group in found}
        rest = [group for group in rest if id(group) not in gone]
    return dead


def _constant(trial: nn.Module, parts: Mapping[str, nn.Module], rest: Sequence[Group], sample: Inputs) -> list[Group]:
    """Return the groups that give constants which the biases of what reads them can hold, having put them there."""
    fed = _nonzero(parts, {unit.path for group in rest for unit in group.outputs}, 0)
    unfed = [group for group in rest if not any(fed[unit.path][unit.position] for unit in group.outputs)]
    constants = _constants(trial, sample) if unfed else {}
    found = [group for group in unfed if all(_can_take(parts, place, constants) for place in group.inputs)]
    for place in (place for group in found for place in group.inputs if constants[place]):
        layer = parts[place.path]
        _bias(layer).add_(
            _weight(layer)[:, place.position].reshape(len(_weight(layer)), -1).sum(1), alpha=constants[place]
        )
    return found


def _constants(module: nn.Module, sample: Inputs) -> dict[Place, float]:
    """Return the inputs of layers that are the same number in all examples and positions, by place."""
    paths = {id(layer): path for path, layer in module.named_modules()}
    ranges: dict[str, tuple[Tensor, Tensor]] = {}
    for call in record(module, sample)[1]:
        features = call.args[0].movedim(1 if isinstance(call.layer, _ConvNd) else -1, 0).flatten(1)
        low, high = features.aminmax(dim=1)
        path = paths[id(call.layer)]
        lowest, highest = ranges.get(path, (low, high))
        ranges[path] = torch.minimum(low, lowest), torch.maximum(high, highest)
    return {
        Place(path, position): float(low[position])
        for path, (low, high) in ranges.items()
        for position in (low == high).nonzero().flatten().tolist()
    }


def _can_take(parts: Mapping[str, nn.Module], place: Place, constants: Mapping[Place, float]) -> bool:
    """Tell whether a layer can do without an input: it is zero, or a constant that its bias can hold."""
    constant, layer = constants.get(place), parts[place.path]
    padded = isinstance(layer, _ConvNd) and (isinstance(layer.padding, str) or any(layer.padding))  # with zeros
    return constant == 0 or (constant is not None and layer.bias is not None and not padded)


def _nonzero(parts: Mapping[str, nn.Module], paths: Iterable[str], side: int) -> dict[str, list[bool]]:
    """Return for each output (side 0) or input (side 1) of layers whether it has a weight that is not zero."""
    return {path: _weight(parts[path]).movedim(side, 0).flatten(1).any(1).tolist() for path in paths}


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight


def _bias(layer: nn.Module) -> Tensor:
    assert isinstance(layer.bias, Tensor)
    return layer.bias
