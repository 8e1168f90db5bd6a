"""Losses: from a name, an import path or a callable to a function ``(outputs, labels) -> scalar``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

from overparam.content import import_path
from overparam.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: Registry[Loss] = Registry("loss")


@LOSSES.named("cross-entropy")
def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean softmax cross entropy of ``outputs`` (batch, classes) against integer ``labels`` (batch,)."""
    return functional.cross_entropy(outputs, labels)


def loss_named(given: str | Callable[..., Any]) -> Loss:
    """Return the loss that ``given`` means: a registered name, ``package.module:function`` or the callable itself."""
    if callable(given):
        return given
    if ":" in given:
        found = import_path(given, "loss")
        return found  # type: ignore[no-any-return]
    return LOSSES.get(given)
