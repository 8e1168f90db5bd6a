"""Optimisers: torch's own, made from settings."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from overparam.train.settings import TrainSettings


def optimiser(settings: TrainSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return torch's fused optimiser for ``parameters``, with empty state.

    All of them leave a weight whose value, gradient and state are zero at exactly zero, which is what keeps pruned
    weights pruned: see :func:`overparam.train.loop.fit`.
    """
    chosen = list(parameters)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            chosen,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(chosen, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=True)
