"""A batch and a loss that a user gives by hand: what is wrong with them is said before anything is made of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.networks.forward import Inputs, described, first_line, run, tensors_in
from overparam.prune.derivatives import Loss


def checked(module: nn.Module, batch: tuple[Inputs, Any], loss: Loss) -> tuple[list[tuple[Inputs, Any]], Loss]:
    """Return ``[batch]`` and the loss, which says what it was given where it fails.

    Raises :class:`SpecError` for what is no pair or is empty, and for inputs that the module fails on.
    """
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise SpecError(f"batch must be a pair (inputs, labels), got {type(batch).__name__}")
    if any(not tensor.numel() for tensor in tensors_in(batch[0])):
        raise SpecError(f"batch must have at least one example, got inputs of {described(batch[0])}")
    run(module, batch[0], "batch: the module")

    def told(outputs: Tensor, labels: Any) -> Tensor:
        try:
            return loss(outputs, labels)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            given = f"outputs of {described(outputs)} and labels of {described(labels)}"
            raise SpecError(f"batch: the loss fails on {given}: {first_line(error)}") from error

    return [batch], told
