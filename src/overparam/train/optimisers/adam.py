"""Adam."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from overparam.spec import spec
from overparam.train.optimisers.base import OPTIMISERS, Compiled, Optimiser, light

TORCH = light(torch.optim.Adam)
Rate = Annotated[float, Field(ge=0, lt=1)]


@OPTIMISERS.named("adam")
@spec
class Adam(Optimiser):
    """Steps by estimates of the gradient's first and second moments, with an L2 penalty on all parameters.

    Args:
        betas: by how much the running means of gradients and of their squares keep of themselves in an iteration.
        weight_decay: times the weight, added to its gradient.

    Example:
        {adam: {betas: [0.9, 0.95], weight_decay: 0.01}}

    Reference: Kingma & Ba, ICLR 2015, https://arxiv.org/abs/1412.6980
    """

    betas: tuple[Rate, Rate] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    def over(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return torch's fused Adam."""
        return TORCH(parameters, lr=lr, betas=self.betas, weight_decay=self.weight_decay, fused=True)

    def compiled(self) -> Compiled:
        """Return the compiled form, which has torch's state."""
        settings = {"name": "adam", "betas": self.betas, "weight_decay": self.weight_decay}
        return Compiled(settings, first="exp_avg", second="exp_avg_sq", steps="step")
