"""Loss, accuracy and soft error of a module on tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from overparam.train.losses import Loss, cross_entropy

CHUNK = 1024  # examples a forward pass: large enough for full speed, small enough for little memory


class Score(NamedTuple):
    """What :func:`evaluate` measures.

    Attributes:
        loss: mean loss per example.
        accuracy: share of examples whose largest output is the label, in [0, 1].
        soft_error: one minus the mean probability given to the label (softmax), in [0, 1].
    """

    loss: float
    accuracy: float
    soft_error: float


@torch.no_grad()
def evaluate(module: nn.Module, inputs: Tensor, *labels: Tensor, loss: Loss = cross_entropy) -> list[Score]:
    """Measure ``module`` in evaluation mode on ``inputs`` (N, ...) against each of ``labels`` (N,), in one pass.

    ``loss`` must be a mean over its batch. The mode of each part of the module is restored.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    sums = torch.zeros(len(labels), 3, dtype=torch.float64)
    for start in range(0, len(inputs), CHUNK):
        outputs = module(inputs[start : start + CHUNK])
        best = outputs.argmax(1)
        chances = outputs.softmax(1)
        for row, all_targets in enumerate(labels):
            targets = all_targets[start : start + CHUNK]
            sums[row, 0] += loss(outputs, targets).double() * len(targets)
            sums[row, 1] += (best == targets).sum()
            sums[row, 2] += (1 - chances.gather(1, targets[:, None]).double()).sum()
    for part, training in modes:
        part.training = training
    return [Score(*(row / max(len(inputs), 1)).tolist()) for row in sums]
