"""N:M sparsity that is learned: dense weights behind a mask that is found anew in each iteration."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Self

from pydantic import Field
from torch import Tensor

from overparam.constraints.base import CONSTRAINTS, Constraint, Free, WeightContext
from overparam.constraints.through import straight_through
from overparam.errors import SpecError
from overparam.prune import NofM
from overparam.spec import spec


@CONSTRAINTS.named("sr-ste")
@spec
class SRSTE(Constraint):
    """Of each M neighbours the N largest are in the network; gradients go to all weights, and the others decay.

    Reference: Zhou et al., ICLR 2021, https://arxiv.org/abs/2102.04010, equation 7

    Args:
        latent: what is trained, dense.
        pattern: how many of how many neighbours are in the network, as ``NofM(2, 4)``.
        decay: what is not in the network at an iteration has a gradient of ``decay`` times its value besides.

    Example:
        sr-ste: "2:4"
        >>> SRSTE(torch.ones(8, 8), NofM(n=2, m=4))
    """

    latent: Tensor
    pattern: NofM
    decay: Annotated[float, Field(ge=0)] = 2e-4

    def __post_init__(self) -> None:
        if why := self.pattern.misfit(self.latent):
            raise SpecError(f"its pattern {self.pattern} does not fit: {why}")

    def kept(self) -> Tensor:
        return self._kept

    @cached_property
    def _kept(self) -> Tensor:
        return self._mask(self.latent)

    def _mask(self, latent: Tensor) -> Tensor:
        return self.pattern.mask(latent.detach().abs())

    def free(self, weight: Tensor) -> dict[str, Tensor]:
        return {"latent": self.latent}

    def weight(self, free: Free, context: WeightContext) -> Tensor:
        latent = free["latent"]
        return straight_through(latent.detach().masked_fill(~self._mask(latent), 0), latent)

    def penalty(self, free: Free) -> Tensor | None:
        latent = free["latent"]
        return self.decay / 2 * latent.masked_fill(self._mask(latent), 0).square().sum() if self.decay else None

    def onto(self, weight: Tensor) -> Self:
        return self._with(latent=weight)

    def beneath(self, weight: Tensor) -> Tensor:
        return self.latent

    def under(self, mask: Tensor) -> Self:
        raise SpecError(
            "sr-ste keeps weights by their size in each iteration, so they cannot be pruned or given back otherwise; "
            "the step 'hold: zero' makes its mask a plain one"
        )
