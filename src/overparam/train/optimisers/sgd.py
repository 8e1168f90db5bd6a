"""SGD, with momentum."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from overparam.spec import spec
from overparam.train.optimisers.base import OPTIMISERS, Compiled, Optimiser, light

TORCH = light(torch.optim.SGD)


@OPTIMISERS.named("sgd")
@spec
class SGD(Optimiser):
    """Stochastic gradient descent, with momentum (Polyak's, or Nesterov's) and an L2 penalty on all parameters.

    Args:
        momentum: share of the last step that the next one keeps.
        nesterov: look ahead along the momentum, which must then be above 0.
        weight_decay: times the weight, added to its gradient.

    Example:
        {sgd: {momentum: 0.9, weight_decay: 0.0001}}
    """

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    def over(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return torch's fused SGD."""
        decay, nesterov = self.weight_decay, self.nesterov
        return TORCH(parameters, lr=lr, momentum=self.momentum, weight_decay=decay, nesterov=nesterov, fused=True)

    def compiled(self) -> Compiled:
        """Return the compiled form, which has torch's state."""
        settings = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        return Compiled({"name": "sgd", **settings}, first="momentum_buffer" if self.momentum else None)
