"""What a network sees of a world: its splits, its task, and epochs of batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from overparam.errors import SpecError
from overparam.worlds.augmentation import Augmentation, Draws
from overparam.worlds.batch import Batch, moved
from overparam.worlds.splits import FiniteSplit, Split
from overparam.worlds.task import Classification, Task, metric_names


@dataclass(frozen=True, eq=False)
class WorldData:
    """A world that was built; do not change the tensors, other worlds share them.

    Args:
        train, test: the examples to train on and to test with.
        task: what is to be done with the inputs.
        input_shape: shape of one input.
        noise_realised: exact fraction of training labels that differ from the clean ones.
        vocabulary: how many different tokens there may be in the inputs; None where they are no tokens.
        validation: examples that are neither trained on nor tested with, to choose by; None where there are none.
        black: ``(C,)``, the normalised value of an input of 0, with which crops are padded.
    """

    train: Split
    test: FiniteSplit
    task: Task
    input_shape: tuple[int, ...]
    noise_realised: float
    black: Tensor
    augmentation: Augmentation | None = None
    vocabulary: int | None = None
    validation: FiniteSplit | None = None

    @property
    def classes(self) -> int:
        """Number of classes; raises :class:`SpecError` where the task is no classification."""
        if not isinstance(self.task, Classification):
            raise SpecError(f"the task {self.task!r} has no classes")
        return self.task.classes

    @property
    def form(self) -> dict[str, Any]:
        """What a network is made for: ``network.build(**data.form, seed=0)``."""
        outputs = self.task.output_shape(self.input_shape)
        return {"input_shape": self.input_shape, "outputs": outputs, "vocabulary": self.vocabulary}

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name: ``train``, ``validation`` if there is one, ``test``."""
        held = {} if self.validation is None else {"validation": self.validation}
        return {"train": self.train, **held, "test": self.test}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what is measured in this world, such as ``test_loss``; see :func:`metric_names`."""
        return metric_names(
            self.task, {name: split.examples().clean is not None for name, split in self.splits.items()}
        )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> WorldData:
        """Return the same data on ``device``, its floating-point tensors in ``dtype``, if one is given."""
        there = {name: split.to(device, dtype) for name, split in self.splits.items()}
        return replace(self, **there, black=moved(self.black, device, dtype))  # type: ignore[arg-type]

    def batch_count(self, batch_size: int, drop_last: bool = False) -> int:
        """Return the number of batches an epoch has; raises :class:`SpecError` if there are none."""
        if batch_size < 1:
            raise SpecError(f"batch_size must be 1 or more, got {batch_size}")
        if drop_last and batch_size > self.train.epoch:
            raise SpecError(
                f"batch_size must be at most {self.train.epoch}, the number of training examples, "
                f"when the last smaller batch is dropped; got {batch_size}"
            )
        return self.train.epoch // batch_size if drop_last else -(-self.train.epoch // batch_size)

    def batches(
        self, batch_size: int, generator: torch.Generator, drop_last: bool = False, start: int = 0, epoch: int = 0
    ) -> Iterator[Batch]:
        """Return the training batches of an epoch (from 0 on), each example of it once.

        All chance of the epoch is drawn from ``generator`` here, so that leaving out the first ``start``
        batches costs nothing, and neither the others nor the generator's later numbers depend on it.

        Raises :class:`SpecError` if ``batch_size`` is below 1 or ``start`` outside ``[0, batch_count]``.
        """
        count = self.batch_count(batch_size, drop_last)
        if not 0 <= start <= count:
            raise SpecError(f"start must be in [0, {count}], the number of batches of an epoch; got {start}")
        order = self.train.order(epoch, generator)
        draws = None
        if self.augmentation is not None and self.augmentation.active:
            draws = self.augmentation.draw(len(order), generator)
        return self._batches(order, draws, batch_size, range(start, count))

    def _batches(self, order: Tensor, draws: Draws | None, batch_size: int, numbers: range) -> Iterator[Batch]:
        for number in numbers:
            here = slice(number * batch_size, (number + 1) * batch_size)
            batch = self.train.fetch(order[here])
            if draws is not None and self.augmentation is not None:
                inputs = self.augmentation.apply(batch.inputs, Draws(*(each[here] for each in draws)), self.black)
                batch = replace(batch, inputs=inputs)
            yield batch
