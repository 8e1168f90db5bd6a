"""Optimisers of a user's, as they stand at an import path."""

from __future__ import annotations

from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """Sign of interpolated momentum (Chen et al., 2023), counting its steps in a plain number."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            one, two = group["betas"]
            for weight in group["params"]:
                state = self.state[weight]
                momentum = state.setdefault("momentum", torch.zeros_like(weight, dtype=torch.float64))
                state["steps"] = state.get("steps", 0) + 1
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                turned = one * momentum + (1 - one) * weight.grad
                weight.add_(turned.sign().to(weight.dtype), alpha=-group["lr"] / state["steps"] ** 0.5)
                momentum.mul_(two).add_(weight.grad, alpha=1 - two)


class Warming(Lion):
    """Keeps a number in its group."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            group["warm"] = group.get("warm", 0.0) + 0.125
            for weight in group["params"]:
                weight.sub_(weight.grad, alpha=group["lr"] * min(group["warm"], 1.0))


class Noisy(Lion):
    """Adds noise to every weight (Langevin dynamics)."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for weight in self.param_groups[0]["params"]:
            weight.sub_(weight.grad, alpha=self.param_groups[0]["lr"]).add_(torch.randn_like(weight), alpha=1e-3)


class Normalised(Lion):
    """Divides a gradient by the mean of its absolute values."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for weight in self.param_groups[0]["params"]:
            weight.sub_(weight.grad / weight.grad.abs().mean().clamp_min(1e-9), alpha=self.param_groups[0]["lr"])


class Listing(Lion):
    """Keeps a list in its state."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for weight in self.param_groups[0]["params"]:
            self.state[weight].setdefault("history", []).append(1)


class Counting(Lion):
    """Counts its steps in an attribute."""

    counted = 0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        self.counted += 1


class Needy(torch.optim.Optimizer):
    """Takes no learning rate."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})
