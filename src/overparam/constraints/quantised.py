"""The quantised weight: few values in the network, a latent weight of full precision behind it."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor

from overparam.constraints.base import CONSTRAINTS, Bits, Constraint, Free, WeightContext, check_mask, width
from overparam.constraints.through import straight_through
from overparam.spec import spec


@spec
class Uniform:
    """Equal steps from minus the largest magnitude of a tensor to plus it, zero among them: ``2**bits - 1`` values."""

    bits: Annotated[int, Field(ge=2, le=16)]

    def __call__(self, weight: Tensor) -> Tensor:
        """Return the nearest of these values for each element."""
        if not weight.numel():
            return weight
        most = 2 ** (self.bits - 1) - 1
        step = (weight.abs().amax() / most).clamp_min(torch.finfo(weight.dtype).tiny)  # never 0 / 0
        codes: Tensor = (weight / step).round_().clamp_(-most, most)
        return codes.mul_(step)


@CONSTRAINTS.named("quantised")
@spec
class Quantised(Constraint):
    """The network computes with the quantised latent weight, whose gradient goes straight to the latent one.

    Reference: Zhou et al. 2016, "DoReFa-Net", arXiv:1606.06160; the symmetric steps are those of Krishnamoorthi 2018,
    arXiv:1806.08342.

    Args:
        latent: what is trained, in full precision; set to zero where it is not kept.
        mask: bool, True where the weight is kept.
        scheme: which values there are.

    Example:
        quantise: 4
        >>> Quantised(torch.tensor([0.1, 0.2]), torch.tensor([True, True]), Uniform(bits=4))
    """

    latent: Tensor
    mask: Tensor
    scheme: Uniform

    def __post_init__(self) -> None:
        check_mask(self.mask, self.latent)
        object.__setattr__(self, "latent", self.latent.masked_fill(~self.mask, 0))

    def free(self, weight: Tensor) -> dict[str, Tensor]:
        return {"latent": self.latent}

    def weight(self, free: Free, context: WeightContext) -> Tensor:
        latent = free["latent"] if self._factor is None else free["latent"] * self._factor
        return straight_through(self.scheme(latent.detach()), latent)

    @cached_property
    def _factor(self) -> Tensor | None:
        return None if bool(self.mask.all()) else self.mask.to(self.latent.dtype)

    def onto(self, weight: Tensor) -> Self:
        return self._with(latent=weight)

    def beneath(self, weight: Tensor) -> Tensor:
        return self.latent

    def bits(self, weight: Tensor) -> Bits:
        return Bits(super().bits(weight).positions, int(self.mask.count_nonzero()) * self.scheme.bits, width(weight))
