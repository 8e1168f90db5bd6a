"""Metrics of a module on examples: sums over batches, and what the sums say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import nn

from overparam.train.losses import BatchLoss
from overparam.worlds import Batch, Task, WorldData
from overparam.worlds.task import Sums

CHUNK = 1024  # examples a forward pass: large enough for full speed, small enough for little memory


def evaluate(module: nn.Module, examples: Batch, task: Task, loss: BatchLoss | None = None) -> dict[str, float]:
    """Return the metrics of ``module`` in evaluation mode on ``examples``, as :func:`metrics` has them.

    ``loss`` ``(outputs, batch)`` is a mean over its batch; None is the task's usual one. The mode of each part of the
    module is restored.
    """
    return metrics(lambda batch: sums(module, batch, task, loss), task, examples)


def measured(sums_of: Callable[[Batch], Sums], data: WorldData, splits: Iterable[str]) -> dict[str, float]:
    """Return the metrics of some of a world's splits, given what sums them up."""
    found: dict[str, float] = {}
    for split in splits:
        own = metrics(sums_of, data.task, data.splits[split].examples())
        found |= {f"{split}_{name}": value for name, value in own.items()}
    return {name: found[name] for name in data.metrics if name in found}


def metrics(sums_of: Callable[[Batch], Sums], task: Task, examples: Batch) -> dict[str, float]:
    """Return the task's metrics of examples, named as by :func:`overparam.worlds.task.metric_names`.

    A part without examples has none; without label noise the ``_clean`` ones are the same, and there are no parts.
    """
    whole = sums_of(examples)
    found = {"": whole, "_clean": whole}
    if examples.clean is not None:
        found |= _parts(sums_of, whole, examples.chosen(examples.targets != examples.clean))
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
    for start in range(0, len(examples), CHUNK):
        batch = examples.part(start, start + CHUNK)
        outputs = module(batch.inputs)
        found = task.sums(outputs, batch.targets)
        if loss is not None:
            found["loss"] = loss(outputs, batch).double() * found["count"]
        total = {name: total.get(name, 0) + value for name, value in found.items()}
    for part, training in modes:
        part.training = training
    return total


def _parts(sums_of: Callable[[Batch], Sums], whole: Sums, noisy: Batch) -> dict[str, Sums]:
    """Return the sums over the clean and the noisy part, and against the clean targets over all."""
    if not len(noisy):
        return {"_clean_part": whole}
    wrong = sums_of(noisy)
    assert noisy.clean is not None
    right = sums_of(replace(noisy, targets=noisy.clean, clean=None))
    rest = {name: value - wrong[name] for name, value in whole.items()}
    clean = {name: value + right[name] for name, value in rest.items()}
    return {"_clean": clean, "_clean_part": rest, "_noisy_part": wrong}
