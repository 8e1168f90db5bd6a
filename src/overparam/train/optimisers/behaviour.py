"""What an optimiser does to pruned weights, found by trying."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from overparam.identity import comes_with_overparam
from overparam.streams import global_stream
from overparam.train.optimisers.base import Optimiser
from overparam.train.optimisers.of_torch import OfTorch

STEPS = 3


class Behaviour(NamedTuple):
    """How an optimiser treats a weight of zero without a gradient.

    Attributes:
        keeps_zeros: whether it stays at zero.
        elementwise: whether the others move as if it were not there, as sparse layers have it.
    """

    keeps_zeros: bool
    elementwise: bool


def behaviour(optimiser: Optimiser) -> Behaviour:
    """Return how ``optimiser`` treats pruned weights: one of the user's is tried on a small matrix."""
    if comes_with_overparam(optimiser) and not isinstance(optimiser, OfTorch):
        return Behaviour(keeps_zeros=True, elementwise=True)
    return tried(optimiser)


def tried(optimiser: Optimiser) -> Behaviour:
    """Return how ``optimiser`` behaves on a small matrix with zeros."""
    with global_stream(0, "look"):
        kept = torch.rand(4, 5) < 0.5
        weights = torch.randn(4, 5) * kept
        gradients = [torch.randn(4, 5) * kept for _ in range(STEPS)]
        try:
            whole = _trained(optimiser, weights, gradients)
        except Exception:  # noqa: BLE001  (the user's own code may raise anything; the training will tell)
            return Behaviour(keeps_zeros=False, elementwise=False)
        try:
            values = _trained(optimiser, weights[kept], [gradient[kept] for gradient in gradients])
        except Exception:  # noqa: BLE001  (such as one that takes matrices only)
            values = torch.full_like(whole[kept], torch.nan)
    same = torch.allclose(whole[kept], values, rtol=1e-4, atol=1e-6)
    return Behaviour(keeps_zeros=not bool(whole[~kept].any()), elementwise=same)


def _trained(optimiser: Optimiser, weights: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    parameter = nn.Parameter(weights.clone())
    stepping = optimiser.over([parameter], 0.01)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        stepping.step()
    return parameter.detach()
