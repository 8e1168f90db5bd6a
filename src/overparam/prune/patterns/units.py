"""Units: whole neurons and filters go, with the weights that read them."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks.units import Group, groups
from overparam.prune.criteria import Scores
from overparam.prune.masks import Masks, keep_top
from overparam.prune.patterns.base import PATTERNS, Round
from overparam.prune.rounds import new_masks
from overparam.prune.selection import excluded
from overparam.spec import spec


@PATTERNS.named("units")
@spec
class Units:
    """Neurons and filters go as a whole, as ``compact`` can remove them.

    A unit scores the sum over the weights that it reads, of all units that go with it: with magnitudes the L1 norm
    of a filter (Li et al., ICLR 2017, arXiv:1608.08710); some criteria score units in their own way. Its weights and
    those that read it are masked, so outputs do not depend on it any more. Fractions and densities are of units, those
    of layers bound together, by residual connections, counted once. A layer that is excluded keeps its units; each
    keeps at least one.

    Args:
        greedy: score a layer's units without the weights that read units which went before them, in the order in which
            layers are registered (Li et al., section 3.3); how many each layer keeps is decided with these weights.
    """

    greedy: bool = False

    def masks(self, scores: Scores, masks: Masks, asked: Round) -> dict[str, Tensor]:
        """Keep the best units, exactly as many as asked for; raises :class:`SpecError` where none can go."""
        if asked.counting == "all" or asked.allow_empty:
            raise SpecError(
                "pattern units counts the units that can go, and empties no layer; leave counting and allow_empty"
            )
        if self.greedy and scores.units:
            raise SpecError("pattern units: greedy sums over weights, and this criterion scores units otherwise")
        module, sample = asked.look()
        layers = _layers(module, groups(module, sample), masks, excluded(asked.exclude, asked.roles, asked.names))
        by_unit = {name: _unit_scores(scores, masks, each) for name, each in layers.items()}
        alive = {name: ~found.isnan() for name, found in by_unit.items()}
        kept = new_masks(
            {name: found.nan_to_num(0.0) for name, found in by_unit.items()},
            alive,
            asked.roles,
            names=asked.names,
            fraction=asked.fraction,
            density=asked.density,
            scope=asked.scope,
        )
        made = {name: mask.clone() for name, mask in masks.items()}
        for name, each in layers.items():
            stays = kept[name]
            if self.greedy:
                again = {name: _unit_scores(scores, made, each).nan_to_num(0.0)}
                stays = keep_top(again, {name: alive[name]}, int(stays.sum()))[name]
            for group, stay in zip(each, stays.tolist(), strict=True):
                if not stay:
                    _clear(made, group)
        return made


def _layers(module: nn.Module, found: Sequence[Group], masks: Masks, spared: set[str]) -> dict[str, list[Group]]:
    """Return the groups that can go by the weight of their first layer, in the order in which layers are registered.

    Raises :class:`SpecError` if there are none.
    """
    layers: dict[str, list[Group]] = {f"{path}.weight": [] for path, _ in module.named_modules()}
    for group in found:
        names = {f"{unit.path}.weight" for unit in group.outputs}
        if not group.kept and names <= masks.keys() and not names & spared:
            layers[min(names)].append(group)
    if not any(layers.values()):
        raise SpecError(f"pattern units: the network has no neuron or filter that can go: {_why_none(found, masks)}")
    return {name: each for name, each in layers.items() if each}


def _why_none(found: Sequence[Group], masks: Masks) -> str:
    """Say of each weight that has a mask why no unit of it can go."""
    kept = {f"{unit.path}.weight": group.kept for group in found for unit in group.outputs}
    other = "it is no layer of units that can be followed, as linear layers and convolutions are"
    return "; ".join(f"{name} ({kept.get(name, other) or 'excluded'})" for name in masks)


def _unit_scores(scores: Scores, masks: Masks, found: Sequence[Group]) -> Tensor:
    """Return a score for each group, in float64; NaN where no weight of it is alive."""
    names = {f"{unit.path}.weight" for group in found for unit in group.outputs}
    alive = {name: masks[name].flatten(1).any(1) for name in names}
    score = scores.units or _sums(scores.each(), masks, names)
    made = torch.full((len(found),), torch.nan, dtype=torch.float64)
    for place, group in enumerate(found):
        if any(bool(alive[f"{unit.path}.weight"][unit.position]) for unit in group.outputs):
            made[place] = score(group)
    return made


def _sums(scores: Mapping[str, Tensor], masks: Masks, names: Iterable[str]) -> Callable[[Group], float]:
    """Return what sums the scores of the weights that units read, as far as they are alive."""
    sums = {name: scores[name].double().where(masks[name], 0.0).flatten(1).sum(1) for name in names}
    return lambda group: sum(float(sums[f"{unit.path}.weight"][unit.position]) for unit in sorted(group.outputs))


def _clear(masks: Mapping[str, Tensor], group: Group) -> None:
    """Mask all weights of units and all that read them, where these have a mask."""
    for unit in group.outputs:
        masks[f"{unit.path}.weight"][unit.position] = False
    for place in group.inputs:
        if (mask := masks.get(f"{place.path}.weight")) is not None:
            mask[:, place.position] = False
