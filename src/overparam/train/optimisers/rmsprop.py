"""RMSprop."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from overparam.spec import spec
from overparam.train.optimisers.base import OPTIMISERS, Optimiser, light

TORCH = light(torch.optim.RMSprop)
Rate = Annotated[float, Field(ge=0, lt=1)]


@OPTIMISERS.named("rmsprop")
@spec
class RMSprop(Optimiser):
    """Divides the gradient by the root of a running mean of its square (Tieleman & Hinton, 2012, lecture 6e).

    Args:
        alpha: by how much the running mean of squares keeps of itself in an iteration.
        momentum: share of the last step that the next one keeps.
        weight_decay: times the weight, added to its gradient.

    Example:
        {rmsprop: {alpha: 0.9, momentum: 0.9}}
    """

    alpha: Rate = 0.99
    momentum: Rate = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    def over(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return torch's RMSprop."""
        return TORCH(parameters, lr=lr, alpha=self.alpha, momentum=self.momentum, weight_decay=self.weight_decay)
