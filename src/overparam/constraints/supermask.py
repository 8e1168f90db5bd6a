"""The supermask: weights that keep their values, under a mask that is learned."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from overparam.constraints.base import CONSTRAINTS, Constraint, Free, WeightContext, check_shapes
from overparam.constraints.through import straight_through
from overparam.errors import SpecError
from overparam.prune.masks import highest
from overparam.spec import spec


@CONSTRAINTS.named("supermask")
@spec
class Supermask(Constraint):
    """Scores are trained, and decide which weights are kept; the gradient of a weight goes straight to its score.

    References: Ramanujan et al. 2020, "What's Hidden in a Randomly Weighted Neural Network?", arXiv:1911.13299 (top-k);
    Zhou et al. 2019, "Deconstructing Lottery Tickets", arXiv:1905.01067 (random masks, rescaling by count).

    Args:
        scores: one for each weight.
        weights: the weights.
        density: share that is kept, in (0, 1]: those of the highest scores, of equal ones the first. None: each is kept
            by the chance ``sigmoid(score)``, anew in each iteration; in evaluation where that is above a half.
        train_weights: whether the weights are trained as well.
        rescale: multiply what is kept by n / k (``count``; n weights, k kept) or by its root (``variance``).
    """

    scores: Tensor
    weights: Tensor
    density: Annotated[float, Field(gt=0, le=1)] | None = None
    train_weights: bool = False
    rescale: Literal["count", "variance"] | None = None

    def __post_init__(self) -> None:
        check_shapes(self.scores, self.weights)

    def kept(self) -> Tensor:
        return self._kept

    @cached_property
    def _kept(self) -> Tensor:
        return self._mask(self.scores, training=False)

    def _mask(self, scores: Tensor, training: bool) -> Tensor:
        if self.density is not None:
            keep = max(1, round(self.density * scores.numel()))
            return highest(scores.reshape(-1), keep).reshape(scores.shape)
        return torch.rand_like(scores) < scores.sigmoid() if training else scores > 0

    def free(self, weight: Tensor) -> dict[str, Tensor]:
        return {"scores": self.scores, **({"weights": self.weights} if self.train_weights else {})}

    def weight(self, free: Free, context: WeightContext) -> Tensor:
        scores, weights = free["scores"], free.get("weights", self.weights)
        mask = self._mask(scores.detach(), context.training).to(weights.dtype)
        smooth = scores if self.density is not None else scores.sigmoid()
        made = straight_through(weights * mask, weights.detach() * smooth)
        if self.rescale is None:
            return made
        ratio = mask.numel() / max(1, int(mask.count_nonzero()))
        return made * (ratio if self.rescale == "count" else math.sqrt(ratio))

    def onto(self, weight: Tensor) -> Self:
        return self._with(weights=weight)

    def beneath(self, weight: Tensor) -> Tensor:
        return self.weights

    def under(self, mask: Tensor) -> Self:
        raise SpecError(
            "a supermask keeps weights by its scores, so they cannot be pruned or given back otherwise; "
            "the step 'hold: zero' makes its mask a plain one"
        )
