"""Masks: the only place that decides which weights stay, among equal ones too, and that the count is exact.

A mask is a bool tensor shaped like its weight tensor; True means kept. Everything is keyed by parameter name.

**Ties.** Weights are ranked by score, and equal scores by position: tensors in the order of their names
(plain string order), then the flat index within the tensor; the lower position is kept. So exactly as many
weights stay as were asked for, also where all scores are equal, and the order of the mappings does not
matter. Where that decides over more than a few weights, :func:`overparam.prune.new_masks` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from overparam.errors import SpecError

__all__ = ["Masks"]

Masks = Mapping[str, Tensor]
"""Masks by parameter name: bool, of the weight's shape, True where it is kept."""

Tied = Callable[[int, int], None]
"""Told of a ranking in which position decides: how many scores equal the lowest that stays, and how many there are."""


def keep_top(
    scores: Mapping[str, Tensor],
    masks: Masks,
    keep: int | Mapping[str, int],
    *,
    allow_empty: bool = False,
    tied: Tied | None = None,
) -> dict[str, Tensor]:
    """Return new masks that keep exactly the ``keep`` best of the weights still alive; a mask never grows.

    Args:
        scores: finite floating-point tensors, higher is better; scores of dead weights are not looked at.
        masks: bool tensors; each needs a score tensor of its shape.
        keep: one number for a single ranking over all tensors, or one number per tensor.
        allow_empty: unless True, every tensor that has weights keeps its best one. In a single ranking that
            one takes the place of the weakest that would have stayed elsewhere.
        tied: called for each ranking in which position decides.

    Raises:
        SpecError: missing scores, wrong shapes or dtypes, scores that are not finite, or a number to keep
            that is more than what is alive, or too small to leave a weight in every tensor.

    Runs in time linear in the number of weights.
    """
    names = sorted(masks)
    check_masks(masks)
    check_known(names, scores)
    for name in names:
        check_scores(name, scores, masks[name])
    if isinstance(keep, Integral):
        return _keep_top_together(names, scores, masks, int(keep), allow_empty, tied)
    if not isinstance(keep, Mapping):
        raise SpecError(f"keep must be a whole number of weights, or one for each tensor, got {keep!r}")
    if set(keep) != set(names):
        raise SpecError(f"keep must give one number for each of {', '.join(names)}; got {', '.join(sorted(keep))}")
    kept: dict[str, Tensor] = {}
    for name in names:
        kept |= _keep_top_together([name], scores, masks, keep[name], allow_empty, tied)
    return kept


def _keep_top_together(
    names: list[str], scores: Mapping[str, Tensor], masks: Masks, keep: int, allow_empty: bool, tied: Tied | None
) -> dict[str, Tensor]:
    """Rank the tensors ``names`` (sorted) together; see :func:`keep_top`."""
    check_room(keep, {name: count_kept({name: masks[name]}) for name in names}, allow_empty)
    if not names:
        return {}
    device = scores[names[0]].device
    sizes = [masks[name].numel() for name in names]
    alive = torch.cat([masks[name].reshape(-1).to(device) for name in names])
    ranked = torch.cat([_comparable(scores[name]).reshape(-1).to(device) for name in names])
    ranked = ranked.masked_fill_(~alive, -torch.inf)  # finite scores are all above; cat made a copy
    reserved = [] if allow_empty else _best_of_each(torch.split(ranked, sizes))
    best = ranked[reserved]
    ranked[reserved] = torch.inf  # the best weight of each tensor goes before all others
    chosen = highest(ranked, keep)
    if tied is not None and keep:
        threshold = ranked[chosen].min()
        if bool((ranked[~chosen] == threshold).any()):
            tied(int((ranked == threshold).sum()) + int((best == threshold).sum()), int(alive.sum()))
    parts = torch.split(chosen, sizes)
    return {
        name: part.reshape(masks[name].shape).to(masks[name].device, copy=True)
        for name, part in zip(names, parts, strict=True)
    }


def _best_of_each(parts: Sequence[Tensor]) -> list[int]:
    """Return the position, counted through all ``parts``, of the first best weight of each that has any alive."""
    found, start = [], 0
    for part in parts:
        if part.numel() and part.max() > -torch.inf:
            found.append(start + int(part.argmax()))  # the first of equals
        start += part.numel()
    return found


def highest(ranked: Tensor, keep: int) -> Tensor:
    """Return a mask of the ``keep`` highest numbers of a vector; of equal ones the first."""
    if keep == 0:
        return torch.zeros_like(ranked, dtype=torch.bool)
    lowest = _nth_highest(ranked, keep)
    chosen = ranked >= lowest
    surplus = int(chosen.sum()) - keep
    if surplus:
        chosen[(ranked == lowest).nonzero()[-surplus:]] = False
    return chosen


def _nth_highest(ranked: Tensor, place: int) -> float:
    if ranked.device.type == "cpu" and ranked.dtype in (torch.float32, torch.float64):  # NumPy takes half as long
        at = len(ranked) - place
        return float(np.partition(ranked.numpy(), at)[at])
    return torch.topk(ranked, place, sorted=False).values.min().item()


def _comparable(scores: Tensor) -> Tensor:
    """Return half-precision scores in float32, which holds them exactly and which every device can rank."""
    return scores.detach().to(torch.promote_types(scores.dtype, torch.float32))


def check_masks(masks: Masks) -> None:
    """Raise :class:`SpecError` unless ``masks`` are bool tensors by name."""
    if not isinstance(masks, Mapping):
        raise SpecError(
            f"masks must be bool tensors by parameter name, as prune returns them, got {type(masks).__name__}"
        )
    for name, mask in masks.items():
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise SpecError(f"mask of {name!r} must be a bool tensor, got {got}; use mask.bool() on zeros and ones")


def check_known(names: Sequence[str], scores: Mapping[str, Tensor]) -> None:
    """Raise :class:`SpecError` if the scores of some tensors are missing."""
    if lacking := [repr(name) for name in names if name not in scores]:
        raise SpecError(
            f"scores lack {', '.join(lacking)}, of which this criterion tells nothing (one of layers' inputs knows "
            "linear layers and two-dimensional convolutions that are called as modules); exclude what is named, or "
            "give scores for every tensor that is to be pruned"
        )


def check_scores(name: str, scores: Mapping[str, Tensor], mask: Tensor) -> None:
    """Raise :class:`SpecError` unless ``scores`` can rank the alive weights of tensor ``name``."""
    check_known([name], scores)
    found = scores[name]
    if not isinstance(found, Tensor) or not found.is_floating_point():
        got = found.dtype if isinstance(found, Tensor) else type(found).__name__
        raise SpecError(f"scores of {name!r} must be a floating-point tensor, got {got}")
    if found.shape != mask.shape:
        raise SpecError(
            f"scores of {name!r} have shape {tuple(found.shape)}, but its mask has shape {tuple(mask.shape)}"
        )
    if found.numel() == 0 or all(bound.isfinite() for bound in torch.aminmax(found.detach())):  # NaN is passed on
        return
    broken = int((~found.isfinite() & mask.to(found.device)).sum())
    if broken:
        raise SpecError(
            f"scores of {name!r} are not finite for {broken:,} of {int(mask.sum()):,} weights; look for a "
            "training that diverged, or a loss or gradient that overflowed"
        )


def check_room(keep: int, alive: Mapping[str, int], allow_empty: bool) -> None:
    """Raise :class:`SpecError` unless ``keep`` of the ``alive`` weights can stay and no tensor is emptied."""
    if keep > sum(alive.values()):
        raise SpecError(
            f"cannot keep {keep:,} weights where {sum(alive.values()):,} are left; pruning never revives one"
        )
    if keep < 0:
        raise SpecError(f"the number of weights to keep must not be negative, got {keep:,}")
    least = 0 if allow_empty else sum(count > 0 for count in alive.values())
    if keep < least:
        raise SpecError(
            f"keeping {keep:,} of the weights would empty a tensor, since {least} tensors still have some; "
            "prune less, or set allow_empty=True"
        )


def count_kept(masks: Masks) -> int:
    """Return the number of weights that the masks keep."""
    return sum(int(mask.sum()) for mask in masks.values())


def density(masks: Masks) -> float:
    """Return the kept share of all weights under ``masks``, in [0, 1]; where there are none it is 1.0."""
    check_masks(masks)
    size = sum(mask.numel() for mask in masks.values())
    return count_kept(masks) / size if size else 1.0


def empty_units(mask: Tensor, groups: int = 1) -> tuple[int, int]:
    """Return (outputs with no kept incoming weight, inputs with no kept outgoing weight) of one layer.

    Args:
        mask: bool, shape (outputs, inputs / groups, *kernel), as linear and convolution layers have
            it (transposed convolutions have inputs and outputs the other way round).
        groups: of a grouped convolution.

    >>> empty_units(torch.tensor([[True, False, False], [False, False, False]]))
    (1, 2)
    """
    if mask.ndim < 2 or mask.dtype != torch.bool:
        raise SpecError(
            f"mask must be bool with at least 2 axes (outputs, inputs), got {mask.dtype} {tuple(mask.shape)}"
        )
    outputs, inputs = mask.shape[:2]
    if groups < 1 or outputs % groups:
        raise SpecError(f"groups must divide the {outputs} outputs of the mask, got {groups}")
    linked = mask.any(dim=tuple(range(2, mask.ndim))) if mask.ndim > 2 else mask
    linked = linked.reshape(groups, outputs // groups, inputs)
    return int((~linked.any(dim=2)).sum()), int((~linked.any(dim=1)).sum())
