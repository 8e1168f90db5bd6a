"""The plain mask: what is pruned is zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from overparam.constraints.base import CONSTRAINTS, Constraint, Free, WeightContext, check_mask
from overparam.spec import spec


@CONSTRAINTS.named("masked")
@spec
class Masked(Constraint):
    """Survivors are trained; the rest is exactly ``+0.0``.

    Args:
        mask: bool, of the weight's shape; True means kept.

    Example:
        prune: {density: 0.1}
        >>> Masked(torch.tensor([True, False, True]))
    """

    mask: Tensor

    def __post_init__(self) -> None:
        check_mask(self.mask)

    def free(self, weight: Tensor) -> dict[str, Tensor]:
        return {"weight": weight}

    def weight(self, free: Free, context: WeightContext) -> Tensor:
        return torch.where(self.mask, free["weight"], torch.zeros((), dtype=free["weight"].dtype))

    def onto(self, weight: Tensor) -> Self:
        return self

    def misfit(self, weight: Tensor, values: bool) -> str:
        # shapes alone, as it is asked at each step
        return "" if self.mask.shape == weight.shape else f"has a mask of shape {tuple(self.mask.shape)}"


def masked(masks: Mapping[str, Tensor]) -> dict[str, Constraint]:
    """Return plain masks as constraints."""
    return {name: Masked(mask) for name, mask in masks.items()}
