"""A constraint of one's own, with the step that puts it on: weights of a user's file, named by its import path."""

from typing import ClassVar, Self

from torch import Tensor

from overparam.constraints import Bits, Constraint, WeightContext, straight_through
from overparam.spec import spec
from overparam.steps import Constrain, Context


@spec
class Signs(Constraint):
    """Weights that are plus or minus one number (Rastegari et al. 2016, XNOR-Net)."""

    latent: Tensor

    def free(self, weight: Tensor) -> dict[str, Tensor]:
        return {"latent": self.latent}

    def weight(self, free: dict[str, Tensor], context: WeightContext) -> Tensor:
        latent = free["latent"]
        return straight_through(latent.detach().abs().mean().copysign(latent.detach()), latent)

    def onto(self, weight: Tensor) -> Self:
        return type(self)(weight)

    def beneath(self, weight: Tensor) -> Tensor:
        return self.latent

    def kept(self) -> Tensor:
        return self.latent == self.latent

    def bits(self, weight: Tensor) -> Bits:
        return Bits(0, weight.numel(), 32)


@spec
class Binarise(Constrain):
    """Put :class:`Signs` on weights."""

    kind: ClassVar[str] = "binarise"

    def constraint(self, name: str, start: object, context: Context) -> Constraint:
        return Signs(start.state[name])
