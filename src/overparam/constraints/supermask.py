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

Gate = Literal["bernoulli", "top-k", "sigmoid", "concrete"]
Rescale = Literal["count", "variance"]


@CONSTRAINTS.named("supermask")
@spec
class Supermask(Constraint):
    """Scores are trained, and decide which weights are kept; the gradient of a weight goes straight to its score.

    In training each weight is multiplied by its gate, with the chance ``p = sigmoid(score)``:

    * ``bernoulli``: 1 with the chance p, else 0, drawn anew in each iteration; the gradient is that of p
    * ``top-k``: 1 for the ``density`` of highest scores, else 0; the gradient is that of the score
    * ``sigmoid``: ``sigmoid(score / temperature)``, nothing drawn
    * ``concrete``: ``sigmoid((score + l) / temperature)`` with l drawn from the logistic distribution, so that a gate
      is above a half with the chance p

    In evaluation gates are 0 or 1: the most probable value (1 where p is at least a half), or, where a density is
    given, 1 for that share of highest scores, of equal ones the first. Samples of ``bernoulli`` and ``concrete`` gates
    are 1 with the chance p, whatever the density.

    References: Zhou et al. 2019, "Deconstructing Lottery Tickets", arXiv:1905.01067 (bernoulli, rescaling by count);
    Ramanujan et al. 2020, "What's Hidden in a Randomly Weighted Neural Network?", arXiv:1911.13299 (top-k); Maddison,
    Mnih & Teh 2017, arXiv:1611.00712 (concrete); Louizos, Welling & Kingma 2018, arXiv:1712.01312 (``l0``).

    Args:
        scores: one for each weight.
        weights: the weights.
        density: share that is kept in evaluation, in (0, 1]; with ``top-k`` in training too, which needs one.
        train_weights: whether the weights are trained as well.
        rescale: multiply what is kept by n / k (``count``; n weights, k kept, the sum of gates) or by its root
            (``variance``).
        gate: as above; None: ``top-k`` with a density, else ``bernoulli``.
        temperature: of ``sigmoid`` and ``concrete``; the lower, the nearer to 0 and 1 the gates.
        l0: times the expected number of kept weights, the sum of all p, is added to the loss.

    Example:
        supermask: {density: 0.5}
        >>> Supermask(torch.zeros(4), torch.ones(4), density=0.5)
    """

    scores: Tensor
    weights: Tensor
    density: Annotated[float, Field(gt=0, le=1)] | None = None
    train_weights: bool = False
    rescale: Rescale | None = None
    gate: Gate | None = None
    temperature: Annotated[float, Field(gt=0)] = 2 / 3
    l0: float = 0.0

    def __post_init__(self) -> None:
        check_shapes(self.scores, self.weights)
        check_gate(self.gate, self.density, self.l0)
        if self.gate is None:
            object.__setattr__(self, "gate", "bernoulli" if self.density is None else "top-k")

    @property
    def random(self) -> bool:
        return self.gate in ("bernoulli", "concrete")

    def kept(self) -> Tensor:
        return self._kept

    @cached_property
    def _kept(self) -> Tensor:
        return self._hard(self.scores)

    def _hard(self, scores: Tensor) -> Tensor:
        if self.density is None:
            return scores >= 0
        return highest(scores.reshape(-1), max(1, round(self.density * scores.numel()))).reshape(scores.shape)

    def free(self, weight: Tensor) -> dict[str, Tensor]:
        return {"scores": self.scores, **({"weights": self.weights} if self.train_weights else {})}

    def weight(self, free: Free, context: WeightContext) -> Tensor:
        scores, weights = free["scores"], free.get("weights", self.weights)
        gates = self._gates(scores, weights.dtype, context)
        made = weights * gates
        if self.rescale is not None:
            ratio = gates.numel() / max(1.0, float(gates.detach().sum()))
            made = made * (ratio if self.rescale == "count" else math.sqrt(ratio))
        return made if context.training else made + 0.0  # never -0.0

    def _gates(self, scores: Tensor, dtype: torch.dtype, context: WeightContext) -> Tensor:
        if not context.training:
            sample = context.sampled and self.random
            return (_drawn(scores.sigmoid()) if sample else self._hard(scores.detach())).to(dtype)
        if self.gate == "top-k":
            return straight_through(self._hard(scores.detach()).to(dtype), scores)
        if self.gate == "bernoulli":
            chance = scores.sigmoid()
            return straight_through(_drawn(chance.detach()).to(dtype), chance)
        if self.gate == "concrete":
            scores = scores + torch.rand_like(scores).logit(torch.finfo(scores.dtype).eps)
        return (scores / self.temperature).sigmoid()

    def penalty(self, free: Free) -> Tensor | None:
        return self.l0 * free["scores"].sigmoid().sum() if self.l0 else None

    def onto(self, weight: Tensor) -> Self:
        return self._with(weights=weight)

    def beneath(self, weight: Tensor) -> Tensor:
        return self.weights

    def under(self, mask: Tensor) -> Self:
        raise SpecError(
            "a supermask keeps weights by its scores, so they cannot be pruned or given back otherwise; "
            "the step 'hold: zero' makes its mask a plain one"
        )


def check_gate(gate: Gate | None, density: float | None, l0: float) -> None:
    """Raise :class:`SpecError` for a gate that lacks its density, or a count that no penalty can change."""
    if gate == "top-k" and density is None:
        raise SpecError("gate 'top-k' keeps a density of the weights, and none is given; give density, in (0, 1]")
    if l0 and (gate == "top-k" or (gate is None and density is not None)):
        raise SpecError(f"l0 must be 0 with gate 'top-k', whose count is fixed by density, got {l0:g}")


def _drawn(chance: Tensor) -> Tensor:
    return torch.rand_like(chance) < chance
