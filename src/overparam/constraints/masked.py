"""The plain mask: what is pruned is zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from overparam.constraints.base import CONSTRAINTS, Bits, Constraint, Free, WeightContext, check_mask, width
from overparam.spec import spec


@CONSTRAINTS.named("masked")
@spec
class Masked(Constraint):
    """Survivors are trained; the rest is exactly ``+0.0``.

    Args:
        mask: bool, of the weight's shape; True means kept.
    """

    mask: Tensor

    def __post_init__(self) -> None:
        check_mask(self.mask)

    def kept(self) -> Tensor:
        """Return the mask."""
        return self.mask

    def free(self, weight: Tensor) -> dict[str, Tensor]:
        """Return the weight."""
        return {"weight": weight}

    def weight(self, free: Free, context: WeightContext) -> Tensor:
        """Return the survivors among zeros, never ``-0.0``."""
        return torch.where(self.mask, free["weight"], torch.zeros((), dtype=free["weight"].dtype))

    def onto(self, weight: Tensor) -> Self:
        """Return itself: it holds no weights."""
        return self

    def under(self, mask: Tensor) -> Self:
        """Return another mask."""
        return type(self)(mask)

    def bits(self, weight: Tensor) -> Bits:
        """Return one bit an element, unless all are kept, and the survivors."""
        return Bits(mask_bits(self.mask), int(self.mask.count_nonzero()) * width(weight))

    def misfit(self, weight: Tensor) -> str:
        """Compare shapes alone, as each step makes a checkpoint."""
        return "" if self.mask.shape == weight.shape else f"has a mask of shape {tuple(self.mask.shape)}"


def masked(masks: Mapping[str, Tensor]) -> dict[str, Constraint]:
    """Return plain masks as constraints."""
    return {name: Masked(mask) for name, mask in masks.items()}


def mask_bits(mask: Tensor) -> int:
    """Return what it costs to store which elements are kept: nothing if all are."""
    return 0 if bool(mask.all()) else mask.numel()
