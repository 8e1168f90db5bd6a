"""What outputs and targets are, and how they are scored: the task of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from overparam.errors import DataError
from overparam.spec import spec

Sums = dict[str, Tensor]
"""Numbers summed over examples, float64, by name; with ``count``, over how many. Sums of parts add up."""


class Task(Protocol):
    """What a network is to do with the inputs of a dataset.

    Attributes:
        loss: the name of the loss that a training minimises unless told otherwise.
        metrics: what :meth:`means` returns, ``loss`` first.
    """

    loss: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for each thing that is predicted: an example, or a place in a sequence."""

    def check(self, what: str, inputs: Tensor, targets: Tensor) -> None:
        """Raise :class:`DataError` for targets that are not of this task; ``what`` names them in errors."""

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Return what :meth:`means` needs of some examples, summed over them."""

    def means(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the metrics of the examples that ``sums`` were taken over."""


@spec
class Classification:
    """One of ``classes`` for each example.

    Outputs are scores ``(N, classes)``, targets class numbers ``(N,)``, int64 in ``[0, classes)``.

    Metrics: ``loss``, the mean cross entropy in nats; ``accuracy``, the share of examples whose largest score is the
    target's; ``soft_error``, one minus the mean probability (softmax) given to the target, in [0, 1] (Nakkiran et al.
    2021, "The Deep Bootstrap Framework", arXiv:2010.08127).
    """

    loss: ClassVar[str] = "cross-entropy"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "soft_error")

    classes: int

    @property
    def outputs(self) -> int:
        """Number of classes."""
        return self.classes

    def check(self, what: str, inputs: Tensor, targets: Tensor) -> None:
        """Raise :class:`DataError` unless there is one class number an example."""
        if targets.dtype != torch.int64 or targets.dim() != 1:
            raise DataError(
                f"{what} must be one class number an example, int64 of shape (N,), got {targets.dtype} "
                f"{tuple(targets.shape)}"
            )
        if len(targets) != len(inputs):
            raise DataError(f"{what} must be as many as the inputs, got {len(targets)} for {len(inputs)} inputs")
        if int(targets.min()) < 0:
            raise DataError(f"{what} must be class numbers from 0 on, got {int(targets.min())}")

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Sum loss, hits and soft errors."""
        chances = outputs.softmax(1).gather(1, targets[:, None])
        return {
            "count": torch.tensor(float(len(targets)), dtype=torch.float64),
            "loss": functional.cross_entropy(outputs, targets, reduction="sum").double(),
            "hits": (outputs.argmax(1) == targets).sum().double(),
            "soft_error": (1 - chances.double()).sum(),
        }

    def means(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Divide by the count."""
        count = float(sums["count"])
        return {
            "loss": float(sums["loss"]) / count,
            "accuracy": float(sums["hits"]) / count,
            "soft_error": float(sums["soft_error"]) / count,
        }
