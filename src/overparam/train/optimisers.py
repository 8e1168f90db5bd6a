"""Optimisers: torch's own, made from settings."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TypeVar, cast

import torch
from torch import nn

from overparam.train.settings import TrainSettings

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


def _light(kind: type[Kind]) -> type[Kind]:
    """Return torch's optimiser ``kind`` without the wrappers that load torch.compile's machinery.

    They only matter to compiled code, but the first call imports 800 modules: a second or two in every process, more
    than many a study takes. What is computed is torch's own code either way.
    """
    step = torch.no_grad()(inspect.unwrap(kind.step))
    add = inspect.unwrap(kind.add_param_group)
    return cast(type[Kind], type(kind.__name__, (kind,), {"step": step, "add_param_group": add}))


SGD, ADAM, ADAMW = _light(torch.optim.SGD), _light(torch.optim.Adam), _light(torch.optim.AdamW)


def optimiser(settings: TrainSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return torch's fused optimiser for ``parameters``, with empty state.

    All of them leave a weight whose value, gradient and state are zero at exactly zero, which is what keeps pruned
    weights pruned: see :func:`overparam.train.loop.fit`.
    """
    chosen = list(parameters)
    if settings.optimizer == "sgd":
        return SGD(
            chosen,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    kind = ADAM if settings.optimizer == "adam" else ADAMW
    return kind(chosen, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=True)


def add_momentum(optimiser: torch.optim.Optimizer) -> None:
    """Give each parameter that has had no gradient yet the momentum that it would have: zeros.

    torch's fused SGD fails where some have momentum and others their first gradient, as arises where a forward does
    not call each layer each time.
    """
    for group in optimiser.param_groups:
        for parameter in group["params"] if group.get("momentum") else ():
            if optimiser.state[parameter].get("momentum_buffer") is None:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
