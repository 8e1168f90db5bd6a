"""Distillation: a loss that lets a network learn from another network."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from overparam.checkpoint import Given
from overparam.errors import SpecError
from overparam.registry import identified
from overparam.spec import spec
from overparam.train.losses import LOSSES, Loss, bound_loss, on_batch, references_of
from overparam.worlds import Batch
from overparam.worlds.task import mean_squared_error


@LOSSES.named("distill")
@spec
class Distill:
    """Learn a teacher's outputs beside the labels (Hinton, Vinyals & Dean 2015, arXiv:1503.02531).

    The loss is ``weight * T^2 * KL(softmax(teacher / T) || softmax(outputs / T)) + (1 - weight) * loss``, a mean over
    predictions, in nats. The factor ``T^2`` keeps the gradients of both parts of one size, whatever the temperature.
    Where targets are real numbers, as in a regression, the teacher's part is the mean squared error between outputs and
    the teacher's, without a temperature. The teacher sees the same inputs, augmented as they are, in evaluation mode
    and without gradients. ``reverse`` takes ``KL(softmax(outputs / T) || softmax(teacher / T))``, which is large where
    outputs see what the teacher rules out.

    Args:
        teacher: a reference to the teacher, such as ``teacher/last``; its architecture may be another, its outputs
            must have the shape of the student's.
        temperature: ``T``, > 0, by which the scores of both are divided.
        weight: share of the teacher's part, in [0, 1].
        loss: the loss against the labels; ``mse`` where they are real numbers.
        reverse: whether the divergence is that of the student's outputs from the teacher's.

    Example:
        {distill: {teacher: teacher/last, temperature: 4, weight: 0.9}}
    """

    teacher: str
    temperature: Annotated[float, Field(gt=0)] = 4.0
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    loss: Annotated[Any, LOSSES] = "cross-entropy"
    reverse: bool = False

    def parameters(self) -> dict[str, Any]:
        """Return every field that decides the result; not to reverse was meant before it could be."""
        return {name: value for name, value in identified(self).items() if (name, value) != ("reverse", False)}

    def references(self) -> tuple[str, ...]:
        """Return the reference to the teacher, and those of the loss against the labels."""
        return (self.teacher, *references_of(self.loss))

    def bound(self, given: Mapping[str, Given]) -> Loss:
        """Return the loss ``(outputs, batch)`` with the teacher that was given."""
        return _Distilling(given[self.teacher].module(), self, bound_loss(LOSSES.resolve(self.loss), given))

    def __call__(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Raise :class:`SpecError`: without its teacher it is no loss."""
        raise SpecError(f"loss distill needs its teacher; use distill.bound({{{self.teacher!r}: Given(...)}})")


class _Distilling:
    def __init__(self, teacher: nn.Module, settings: Distill, loss: Loss) -> None:
        self.teacher, self.settings, self.loss = teacher.eval().requires_grad_(False), settings, on_batch(loss)

    def __call__(self, outputs: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            wanted = self.teacher(batch.inputs)
        real, temperature, weight = batch.targets.is_floating_point(), self.settings.temperature, self.settings.weight
        one, two = (wanted, outputs) if self.settings.reverse else (outputs, wanted)
        taught = mean_squared_error(one, two) if real else divergence(one, two, temperature)
        return weight * taught + (1 - weight) * self.loss(outputs, batch)


def divergence(outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 * KL(softmax(wanted / T) || softmax(outputs / T))``, a mean over predictions, in nats."""
    learned, taught = (functional.log_softmax(each.flatten(0, -2) / temperature, -1) for each in (outputs, wanted))
    return temperature**2 * functional.kl_div(learned, taught, reduction="batchmean", log_target=True)
