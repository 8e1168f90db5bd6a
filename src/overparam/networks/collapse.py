"""Layer collapse: layers that pruning has left with too few weights to use all of their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from overparam.errors import LayerCollapseWarning, warn
from overparam.remarks import COLLAPSE_REMEDY

THOUSANDTH = 0.001
"""The share of a layer's weights below which it keeps almost nothing."""

FEW_UNITS = 20
"""Units of a layer from which on one that is left is told of."""

COUNTED = 10
"""Weights below which it is told how many exactly are left: more differ from seed to seed, and each tells anew."""


def collapsed_layers(masks: Mapping[str, Tensor], roles: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the layers that have collapsed, in the order of ``masks``.

    A layer has collapsed where its mask keeps fewer weights than the layer has outputs, or inputs: then some unit on
    that side certainly carries no signal. The inputs of the output layer do not count, if ``roles`` tells which one it
    is: a class needs few of them. A layer without any weight left, which Tanaka et al. (2020,
    https://arxiv.org/abs/2006.05467) call layer collapse, is the extreme of it.

    Args:
        masks: bool tensors ``(outputs, inputs, ...)`` by name, of a convolution's inputs those of one group. A mask
            with fewer than two axes collapses when nothing is left, one without elements never.
        roles: by name, see :func:`overparam.networks.tensor_roles`.
    """
    roles = roles or {}
    return [name for name, mask in masks.items() if int(mask.sum()) < units(tuple(mask.shape), roles.get(name))]


def units(shape: Sequence[int], role: str | None = None) -> int:
    """Return how many weights a tensor of ``shape`` needs so that none of its units must be without any."""
    if 0 in shape:
        return 0
    return max(shape[: 1 if role == "output" else 2]) if len(shape) > 1 else 1


def warn_of_collapse(
    masks: Mapping[str, Tensor], roles: Mapping[str, str] | None = None, before: Mapping[str, Tensor] | None = None
) -> None:
    """Warn with :class:`LayerCollapseWarning` if layers have collapsed; see :func:`collapsed_layers`.

    Of layers that had collapsed under the masks ``before``, the round before has told.
    """
    told = collapsed_layers(before or {}, roles)
    found = [name for name in collapsed_layers(masks, roles) if name not in told]
    if not found:
        return
    each = [
        f"{name!r} keeps {int(masks[name].sum()):,} of {masks[name].numel():,} weights for "
        f"{units(tuple(masks[name].shape), (roles or {}).get(name)):,} units"
        for name in found[:4]
    ]
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    warn(f"layer collapse: {', '.join(each)}{more}; {COLLAPSE_REMEDY}", LayerCollapseWarning)


def almost_empty(masks: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> list[str]:
    """Return a sentence on each layer that ``masks`` leave almost nothing and ``before`` did not.

    That is fewer weights than it has outputs, or less than a thousandth of them; or, where whole units go, fewer than
    one in fifty of twenty units or more.
    """
    told = [(_amount, "weights"), (_units_left, "units")]
    found: list[str] = []
    for name, mask in masks.items():
        for amount, what in told:
            left = amount(mask)
            if left and not (name in before and amount(before[name])):
                found.append(f"{name!r} keeps {left} of {mask.numel() if what == 'weights' else len(mask):,} {what}")
                break
    return found


def _amount(mask: Tensor) -> str:
    """Return how many weights are left, if they are almost none."""
    kept, outputs = int(mask.sum()), len(mask) if mask.dim() else 1
    if mask.dim() < 2 or 0 in mask.shape or kept >= max(outputs, THOUSANDTH * mask.numel()):
        return ""
    if kept < COUNTED:
        return f"{kept}"
    return "less than a thousandth" if kept >= outputs else f"fewer than one for each of its {outputs:,} outputs"


def _units_left(mask: Tensor) -> str:
    """Return how many outputs still have weights, if they are almost none."""
    if mask.dim() < 2 or len(mask) < FEW_UNITS:
        return ""
    alive = int(mask.flatten(1).any(dim=1).sum())
    return f"{alive}" if alive <= max(1, len(mask) // 50) else ""
