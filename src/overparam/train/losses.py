"""Losses: from a name, an import path or a callable to a function ``(outputs, targets) -> scalar``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from overparam.content import import_path
from overparam.errors import SpecError
from overparam.identity import comes_with_overparam, identity_of
from overparam.registry import Registry
from overparam.worlds import Batch, Task

Loss = Callable[..., Tensor]
"""``(outputs, targets)``, or ``(outputs, batch)`` where the second parameter is called ``batch``, to a scalar mean."""

BatchLoss = Callable[[Tensor, Batch], Tensor]

LOSSES: Registry[Loss] = Registry("loss")


@LOSSES.named("cross-entropy")
def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean softmax cross entropy of ``outputs`` (batch, classes) against integer ``targets`` (batch,)."""
    return functional.cross_entropy(outputs, targets)


def on_batch(loss: Loss) -> BatchLoss:
    """Return the function ``(outputs, batch)`` that calls ``loss`` with what its second parameter asks for.

    One that is called ``batch`` gets the whole :class:`Batch`, any other its targets.
    """
    if _second_parameter(loss.forward if isinstance(loss, nn.Module) else loss) == "batch":
        return loss
    return lambda outputs, batch: loss(outputs, batch.targets)


def _second_parameter(loss: Callable[..., Any]) -> str | None:
    try:
        names = list(inspect.signature(loss).parameters)
    except ValueError:  # written in C
        return None
    return names[1] if len(names) > 1 else None


def not_usual(loss: Loss, task: Task) -> BatchLoss | None:
    """Return what evaluation is to measure as the loss: None for the task's usual one, which its sums have."""
    return None if loss is LOSSES.get(task.loss) else on_batch(loss)


def checked_loss(given: Any) -> Any:
    """Return ``given`` if it may mean a loss, without following import paths; raises :class:`SpecError` if not."""
    if isinstance(given, str):
        if ":" not in given:
            LOSSES.get(given)
    elif not callable(given):
        raise SpecError(
            f"must be one of {', '.join(LOSSES)}, an import path 'package.module:function' or a function, got {given!r}"
        )
    return given


def loss_named(given: str | Callable[..., Any]) -> Loss:
    """Return the loss that ``given`` means: a registered name, ``package.module:function`` or the callable itself."""
    if callable(given):
        return given
    if ":" not in given:
        return LOSSES.get(given)
    found = import_path(given, "loss")
    if not callable(found):
        raise SpecError(f"loss {given!r} must be a function (outputs, labels) -> scalar, got {found!r}")
    return found  # type: ignore[no-any-return]


def loss_identity(given: str | Callable[..., Any]) -> Any:
    """Return what a loss is, JSON-able, for fingerprints: a registered name, or what one's own is made of."""
    loss = loss_named(given)
    if isinstance(given, str) and given in LOSSES:
        return given if comes_with_overparam(loss) else identity_of(loss)
    return identity_of(loss)
