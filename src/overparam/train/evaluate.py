"""Metrics of a module on examples: sums over batches, and what the sums say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from overparam.train.losses import BatchLoss
from overparam.worlds import Batch, Task
from overparam.worlds.task import Sums

CHUNK = 1024  # examples a forward pass: large enough for full speed, small enough for little memory


def evaluate(module: nn.Module, examples: Batch, task: Task, loss: BatchLoss | None = None) -> dict[str, float]:
    """Return the metrics of ``module`` in evaluation mode on ``examples``, as :func:`metrics` has them.

    ``loss`` ``(outputs, batch)`` is a mean over its batch; None is the task's usual one. The mode of each part of the
    module is restored.
    """
    return metrics(lambda batch: sums(module, batch, task, loss), task, examples)


def metrics(sums_of: Callable[[Batch], Sums], task: Task, examples: Batch) -> dict[str, float]:
    """Return the task's metrics of examples, given what sums them.

    With label noise there are four of each: against the targets as trained on; with ``_clean`` in its name, against
    those without noise; ``_clean_part``, on the examples whose target is right; ``_noisy_part``, on those whose target
    is wrong, against it (the share that is memorised, if it is an accuracy). A part without examples has none. Without
    label noise the ``_clean`` ones are the same, and there are no parts.
    """
    whole = sums_of(examples)
    found = {"": whole, "_clean": whole}
    if examples.clean is not None:
        noisy = examples.chosen(examples.targets != examples.clean)
        wrong = sums_of(noisy)
        assert noisy.clean is not None
        right = sums_of(replace(noisy, targets=noisy.clean, clean=None))
        found["_clean_part"], found["_noisy_part"] = _minus(whole, wrong), wrong
        found["_clean"] = {name: value + right[name] for name, value in found["_clean_part"].items()}
    return {
        f"{name}{suffix}": value
        for suffix, each in found.items()
        if float(each["count"])
        for name, value in task.means(each).items()
    }


@torch.no_grad()
def sums(module: nn.Module, examples: Batch, task: Task, loss: BatchLoss | None = None) -> Sums:
    """Return the task's sums of ``module`` in evaluation mode on ``examples``; see :func:`evaluate`."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    total: Sums = {}
    for start in range(0, max(len(examples), 1), CHUNK):
        batch = examples.part(start, start + CHUNK)
        outputs = module(batch.inputs)
        found = task.sums(outputs, batch.targets)
        if loss is not None and len(batch):
            found["loss"] = loss(outputs, batch).double() * found["count"]
        total = {name: total.get(name, 0) + value for name, value in found.items()}
    for part, training in modes:
        part.training = training
    return total


def _minus(whole: Mapping[str, Tensor], part: Mapping[str, Tensor]) -> Sums:
    return {name: value - part[name] for name, value in whole.items()}
