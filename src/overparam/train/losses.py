"""Losses: functions ``(outputs, targets) -> scalar``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import WrapValidator
from torch import Tensor, nn
from torch.nn import functional

from overparam.checkpoint import Given
from overparam.errors import DataError
from overparam.registry import Registry
from overparam.worlds import Batch, Task
from overparam.worlds.task import mean_squared_error

Loss = Callable[..., Tensor]
"""``(outputs, targets)``, or ``(outputs, batch)`` where the second parameter is called ``batch``, to a scalar mean."""

BatchLoss = Callable[[Tensor, Batch], Tensor]

LOSSES: Registry[Loss] = Registry("loss", "a function (outputs, targets) or (outputs, batch) -> scalar")

GivenLoss = Annotated[Any, LOSSES, WrapValidator(lambda given, check: None if given is None else check(given))]
"""A field of a spec that is a loss, or None for the usual one of the task."""


@LOSSES.named("cross-entropy")
def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean softmax cross entropy of scores ``(N, classes)``, or ``(N, T, classes)``, against integers, in nats."""
    if targets.is_floating_point():  # which torch would take for probabilities
        raise DataError(f"cross entropy needs class numbers, got targets of {targets.dtype}")
    if outputs.dim() > targets.dim() > 1:
        return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())
    return functional.cross_entropy(outputs, targets)


LOSSES.register("mse", mean_squared_error)


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


def loss_for(given: Any, task: Task) -> Loss:
    """Return the loss that ``given`` means for a task; None is its usual one."""
    return LOSSES.resolve(task.loss if given is None else given)


def references_of(given: Any) -> tuple[str, ...]:
    """Return the references to the checkpoints that a loss needs: what its method ``references()`` says, if it has one.

    Such a loss has a method ``bound(given)``, too, which is handed them (:class:`overparam.checkpoint.Given`, by
    reference) and returns the function that is used.
    """
    return () if given is None else tuple(getattr(LOSSES.resolve(given), "references", tuple)())


def bound_loss(loss: Any, given: Mapping[str, Given]) -> Loss:
    """Return ``loss`` with the checkpoints that it has named."""
    return loss.bound(given) if references_of(loss) else loss  # type: ignore[no-any-return]


def not_usual(loss: Loss, task: Task) -> BatchLoss | None:
    """Return what evaluation is to measure as the loss: None for the task's usual one, which its sums have."""
    return None if loss is loss_for(None, task) else on_batch(loss)
