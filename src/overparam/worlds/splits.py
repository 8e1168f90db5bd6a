"""The data a network sees: splits of examples, and epochs of batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from overparam.errors import SpecError
from overparam.worlds.augmentation import Augmentation, Draws
from overparam.worlds.batch import Batch
from overparam.worlds.task import Classification, Task


class Split(ABC):
    """Examples with numbers: what a training goes through, in which order, and the examples at given numbers.

    Attributes:
        epoch: how many examples count as one epoch.
    """

    epoch: int

    @abstractmethod
    def order(self, epoch: int, generator: torch.Generator) -> Tensor:
        """Return the numbers of the examples of an epoch (from 0 on), in order: int64, ``(epoch,)``, on the CPU."""

    @abstractmethod
    def fetch(self, indices: Tensor) -> Batch:
        """Return the examples with these numbers; always the same for the same numbers."""

    @abstractmethod
    def examples(self) -> Batch:
        """Return the examples that metrics of this split are measured on."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Split:
        """Return the split on ``device``."""


@dataclass(frozen=True, eq=False)
class FiniteSplit(Split):
    """Examples in memory: ``inputs`` ``(N, ...)``, ``targets`` as trained on; ``clean`` are those without label noise.

    Without label noise ``clean`` is None.
    """

    inputs: Tensor
    targets: Tensor
    clean: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def epoch(self) -> int:  # type: ignore[override]
        """Every example once."""
        return len(self.inputs)

    def order(self, epoch: int, generator: torch.Generator) -> Tensor:
        """Return a permutation drawn from the generator, whichever epoch it is."""
        return torch.randperm(len(self.inputs), generator=generator, device=generator.device)

    def fetch(self, indices: Tensor) -> Batch:
        """Return copies."""
        indices = indices.to(self.inputs.device)
        clean = None if self.clean is None else self.clean.index_select(0, indices)
        return Batch(self.inputs.index_select(0, indices), self.targets.index_select(0, indices), indices, clean)

    def examples(self) -> Batch:
        """Return all, without copies."""
        return Batch(self.inputs, self.targets, clean=self.clean)

    def to(self, device: torch.device | str) -> FiniteSplit:
        """Return the split on ``device``."""
        clean = None if self.clean is None else self.clean.to(device)
        return FiniteSplit(self.inputs.to(device), self.targets.to(device), clean)


@dataclass(frozen=True, eq=False)
class WorldData:
    """A world that was built; do not change the tensors, other worlds share them.

    Args:
        task: what is to be done with the inputs.
        input_shape: shape of one input.
        noise_realised: exact fraction of training labels that differ from the clean ones.
        black: ``(C,)``, the normalised value of an input of 0, with which crops are padded.
    """

    train: Split
    test: FiniteSplit
    task: Task
    input_shape: tuple[int, ...]
    noise_realised: float
    black: Tensor
    augmentation: Augmentation | None = None

    @property
    def classes(self) -> int:
        """Number of classes; raises :class:`SpecError` where the task is no classification."""
        if not isinstance(self.task, Classification):
            raise SpecError(f"the task {self.task} has no classes")
        return self.task.classes

    def to(self, device: torch.device | str) -> WorldData:
        """Return the same data on ``device``."""
        return replace(self, train=self.train.to(device), test=self.test.to(device), black=self.black.to(device))

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
