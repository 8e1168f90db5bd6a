"""Pruning by units: whole neurons and filters go, with the weights that read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from overparam.errors import SpecError
from overparam.networks.units import Group
from overparam.prune.masks import Masks
from overparam.prune.rounds import new_masks
from overparam.prune.scopes import Scope


def unit_masks(
    scores: Mapping[str, Tensor],
    masks: Masks,
    groups: Sequence[Group],
    roles: Mapping[str, str],
    *,
    fraction: float | None = None,
    density: float | None = None,
    scope: str | Scope = "per-layer",
    spared: Collection[str] = (),
) -> dict[str, Tensor]:
    """Return the masks after the units with the lowest scores went, exactly as many as asked for.

    A unit's score is the sum over the weights that it reads, of all units that go with it: with magnitudes the L1 norm
    of a filter (Li et al., ICLR 2017, arXiv:1608.08710). Its weights and those that read it are masked, so that
    ``compact`` can remove it and outputs stay what they are. Layers whose units are bound together, by residual
    connections, count as one. A layer keeps at least one unit.

    Args:
        scores, masks, roles: as in :func:`overparam.prune.new_masks`; a unit is alive while a weight of it is.
        groups: from :func:`overparam.networks.units.groups`.
        fraction: share of the units alive that goes, in [0, 1); this or ``density``.
        density: share of all units that stays, in (0, 1].
        scope: over what the count is spread; layers have units here, not weights.
        spared: names of weights whose units stay.

    Raises:
        SpecError: a wrong argument; no unit that could go.
    """
    layers: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        names = tuple(sorted({f"{unit.path}.weight" for unit in group.outputs}))
        if not group.kept and set(names) <= masks.keys() and not set(names) & set(spared):
            layers.setdefault(names, []).append(group)
    if not layers:
        why = next((group.kept for group in groups if group.kept), "all are excluded")
        raise SpecError(f"no neuron or filter can go: {why}")
    by_unit = {names[0]: _unit_scores(scores, masks, each) for names, each in layers.items()}
    alive = {name: found > -torch.inf for name, found in by_unit.items()}
    kept = new_masks(by_unit, alive, roles, fraction=fraction, density=density, scope=scope)
    made = {name: mask.clone() for name, mask in masks.items()}
    for names, each in layers.items():
        for group, stays in zip(each, kept[names[0]].tolist(), strict=True):
            if not stays:
                _clear(made, group)
    return made


def _unit_scores(scores: Mapping[str, Tensor], masks: Masks, groups: Sequence[Group]) -> Tensor:
    """Return a score for each group; minus infinity where no weight of it is alive."""
    sums = {
        name: scores[name].double().where(masks[name], 0.0).flatten(1).sum(1)
        for name in {f"{unit.path}.weight" for group in groups for unit in group.outputs}
    }
    return torch.stack([_score(sums, masks, group) for group in groups])


def _score(sums: Mapping[str, Tensor], masks: Masks, group: Group) -> Tensor:
    units = [(f"{unit.path}.weight", unit.position) for unit in group.outputs]
    if not any(bool(masks[name][position].any()) for name, position in units):
        return torch.tensor(-torch.inf, dtype=torch.float64)
    return torch.stack([sums[name][position] for name, position in sorted(units)]).sum()


def _clear(masks: Mapping[str, Tensor], group: Group) -> None:
    """Mask all weights of units and all that read them, where these have a mask."""
    for unit in group.outputs:
        masks[f"{unit.path}.weight"][unit.position] = False
    for place in group.inputs:
        if (mask := masks.get(f"{place.path}.weight")) is not None:
            mask[:, place.position] = False
