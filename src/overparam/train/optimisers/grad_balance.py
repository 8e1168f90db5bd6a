"""GradBalance: gates are pushed towards a density as strongly as the loss pulls at them."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from overparam.spec import spec
from overparam.train.optimisers.base import Optimiser, light


@spec
class GradBalance(Optimiser):
    """Adam for the scores of gates, whose gradients also push the expected number of open gates down to a target.

    With chances ``p = sigmoid(score)`` and a target of T open gates, the push is the gradient s of ``sum(p) / T`` times
    the running mean of ``|g| / |s|``, g being the loss's gradient, while ``sum(p)`` is above T, and of 0 while it is
    not. So no coefficient is tuned: the push is as strong as the pull, whatever the loss's scale. All parameters are
    taken for scores, so it is no optimiser for weights, and has no name in a study file.

    Reference: Arora & Teuscher 2025, https://arxiv.org/abs/2512.07142 (GradBalance); running mean and slack are those
    of the authors' public code.

    Args:
        density: T as a share of the gates, before ``slack``.
        slack: T is so many times as large: the last gates are closed by their rank.
        smoothing: weight of the newest ratio in the running mean, in (0, 1].
    """

    density: Annotated[float, Field(gt=0, le=1)]
    slack: Annotated[float, Field(ge=1)] = 1.1
    smoothing: Annotated[float, Field(gt=0, le=1)] = 0.1

    def over(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Return torch's Adam with the push."""
        # pulls at one of many gates are tiny, and must not vanish beside eps
        made = _Balanced(parameters, lr=lr, eps=1e-15, fused=True)
        made.target = self.slack * self.density * sum(each.numel() for each in parameters)
        made.smoothing = self.smoothing
        return made


class _Balanced(light(torch.optim.Adam)):  # type: ignore[misc]
    """Adam that adds the push; the multiplier is part of its group, and so of what a journal keeps."""

    target: float
    smoothing: float

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        scores: list[Tensor] = [each for each in self.param_groups[0]["params"] if each.grad is not None]
        chances = [each.sigmoid() for each in scores]
        pushes = [chance * (1 - chance) / self.target for chance in chances]
        multiplier = self._multiplier(float(sum(each.sum() for each in chances)), _ratio(scores, pushes))
        for each, push in zip(scores, pushes, strict=True):
            assert each.grad is not None
            each.grad.add_(push, alpha=multiplier)
        super().step(closure)

    def _multiplier(self, expected: float, ratio: float) -> float:
        """Move the running mean on, of which the first ratio is the beginning, and return it."""
        group, newest = self.param_groups[0], ratio if expected > self.target else 0.0
        before = group.get("multiplier")
        group["multiplier"] = newest if before is None else before + self.smoothing * (newest - before)
        return float(group["multiplier"])


def _ratio(scores: list[Tensor], pushes: list[Tensor]) -> float:
    """Return how many times as strong the loss pulls as the push pushes; norms are in float64."""
    pulls = [each.grad for each in scores if each.grad is not None]
    pull, push = (torch.stack([each.norm(dtype=torch.float64) for each in part]).norm() for part in (pulls, pushes))
    return float(pull / push) if push > 0 else 0.0
