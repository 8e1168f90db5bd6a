"""Pruning what can only go as a whole: groups of units, such as a filter with what reads it, or an attention head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks.units import Group
from overparam.prune.criteria import Scores
from overparam.prune.masks import Masks, keep_top
from overparam.prune.patterns.base import Round
from overparam.prune.rounds import new_masks
from overparam.prune.selection import excluded


def keep_whole(
    module: nn.Module, found: Sequence[Group], scores: Scores, masks: Masks, asked: Round, greedy: bool = False
) -> dict[str, Tensor]:
    """Return masks in which the best of the groups ``found`` stay, exactly as many as asked for.

    A group scores what the criterion says, or the sum over the weights that its units read. A layer that is excluded
    keeps its units; each keeps at least one group.

    Args:
        module: whose layers they are of.
        found: groups that can go; those that are ``kept``, excluded, or of layers without a mask stay.
        greedy: score a layer's groups under the masks that those of the layers before it have left.

    Raises:
        SpecError: no group can go, or an option that means nothing here.
    """
    if asked.counting == "all" or asked.allow_empty:
        raise SpecError("units and heads are counted as a whole and empty no layer; leave counting and allow_empty")
    if greedy and scores.units:
        raise SpecError("pattern units: greedy sums over weights, and this criterion scores units otherwise")
    layers = _layers(module, found, masks, excluded(asked.exclude, asked.roles, asked.names))
    by_unit = {name: _scores(scores, masks, each) for name, each in layers.items()}
    alive = {name: ~found.isnan() for name, found in by_unit.items()}
    kept = new_masks(
        {name: found.nan_to_num(0.0) for name, found in by_unit.items()},
        alive,
        asked.roles,
        names=asked.names,
        fraction=asked.fraction,
        density=asked.density,
        scope=asked.scope,
        tell=asked.tell,
    )
    made = {name: mask.clone() for name, mask in masks.items()}
    for name, each in layers.items():
        stays = kept[name]
        if greedy:
            again = {name: _scores(scores, made, each).nan_to_num(0.0)}
            stays = keep_top(again, {name: alive[name]}, int(stays.sum()))[name]
        for group, stay in zip(each, stays.tolist(), strict=True):
            if not stay:
                _clear(made, group)
    return made


def _layers(module: nn.Module, found: Sequence[Group], masks: Masks, spared: set[str]) -> dict[str, list[Group]]:
    """Return the groups that can go by the weight of their first layer, in the order in which layers are registered.

    Raises :class:`SpecError` if there are none.
    """
    layers: dict[str, list[Group]] = {name: [] for name, _ in module.named_parameters(remove_duplicate=False)}
    for group in found:
        names = {unit.name for unit in group.outputs}
        if not group.kept and names <= masks.keys() and not names & spared:
            layers[min(names)].append(group)
    if not any(layers.values()):
        raise SpecError(f"the network has nothing that can go as a whole: {_why_none(found, masks, spared)}")
    return {name: each for name, each in layers.items() if each}


def _why_none(found: Sequence[Group], masks: Masks, spared: set[str]) -> str:
    """Say of each weight that has a mask why no unit of it can go."""
    groups = {unit.name: group for group in found for unit in group.outputs}

    def why(name: str) -> str:
        if name in spared:
            return "excluded"
        if name not in groups:
            return "it is no layer whose units can be followed"
        others = {unit.name for unit in groups[name].outputs} - (masks.keys() - spared)
        return groups[name].kept or f"its units go only with those of {', '.join(sorted(others))}, which must not go"

    return "; ".join(f"{name} ({why(name)})" for name in masks)


def _scores(scores: Scores, masks: Masks, found: Sequence[Group]) -> Tensor:
    """Return a score for each group, in float64; NaN where no weight of it is alive."""
    names = {unit.name for group in found for unit in group.outputs}
    alive = {name: masks[name].flatten(1).any(1) for name in names}
    score = scores.units or _sums(scores.each(), masks, names)
    made = torch.full((len(found),), torch.nan, dtype=torch.float64)
    for place, group in enumerate(found):
        if any(bool(alive[unit.name][unit.position]) for unit in group.outputs):
            made[place] = score(group)
    return made


def _sums(scores: Mapping[str, Tensor], masks: Masks, names: Iterable[str]) -> Callable[[Group], float]:
    """Return what sums the scores of the weights that units read, as far as they are alive."""
    sums = {name: scores[name].double().where(masks[name], 0.0).flatten(1).sum(1) for name in names}
    return lambda group: sum(float(sums[unit.name][unit.position]) for unit in sorted(group.outputs))


def _clear(masks: Mapping[str, Tensor], group: Group) -> None:
    """Mask all weights of units and all that read them, where these have a mask."""
    for unit in group.outputs:
        masks[unit.name][unit.position] = False
    for place in group.inputs:
        if (mask := masks.get(place.name)) is not None:
            mask[:, place.position] = False
