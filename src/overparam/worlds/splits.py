"""The data a network sees: normalised inputs and labels in memory, and epochs of batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from overparam.errors import SpecError
from overparam.worlds.augmentation import Augmentation, Draws


@dataclass(frozen=True, eq=False)
class Split:
    """Examples: ``inputs`` ``(N, ...)`` float32; ``labels`` (as trained on) and ``clean_labels`` ``(N,)``."""

    inputs: Tensor
    labels: Tensor
    clean_labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Split:
        """Return the split on ``device``."""
        return Split(self.inputs.to(device), self.labels.to(device), self.clean_labels.to(device))


@dataclass(frozen=True, eq=False)
class WorldData:
    """A world that was built; do not change the tensors, other worlds share them.

    Args:
        classes: number of classes.
        input_shape: shape of one input.
        noise_realised: exact fraction of training labels that differ from the clean ones.
        black: ``(C,)``, the normalised value of an input of 0, with which crops are padded.
    """

    train: Split
    test: Split
    classes: int
    input_shape: tuple[int, ...]
    noise_realised: float
    black: Tensor
    augmentation: Augmentation | None = None

    def to(self, device: torch.device | str) -> WorldData:
        """Return the same data on ``device``."""
        return replace(self, train=self.train.to(device), test=self.test.to(device), black=self.black.to(device))

    def batch_count(self, batch_size: int, drop_last: bool = False) -> int:
        """Return the number of batches an epoch has; raises :class:`SpecError` if there are none."""
        if batch_size < 1:
            raise SpecError(f"batch_size must be 1 or more, got {batch_size}")
        if drop_last and batch_size > len(self.train):
            raise SpecError(
                f"batch_size must be at most {len(self.train)}, the number of training examples, "
                f"when the last smaller batch is dropped; got {batch_size}"
            )
        return len(self.train) // batch_size if drop_last else -(-len(self.train) // batch_size)

    def shuffled(self, generator: torch.Generator) -> Tensor:
        """Return the order in which :meth:`batches` takes the training examples: int64, ``(N,)``."""
        order = torch.randperm(len(self.train), generator=generator, device=generator.device)
        return order.to(self.train.inputs.device)

    def batches(
        self, batch_size: int, generator: torch.Generator, drop_last: bool = False, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return one epoch of shuffled training batches ``(inputs, labels)``, each example once.

        All chance of the epoch is drawn from ``generator`` here, so that leaving out the first ``start``
        batches costs nothing, and neither the others nor the generator's later numbers depend on it.

        Raises :class:`SpecError` if ``batch_size`` is below 1 or ``start`` outside ``[0, batch_count]``.
        """
        count = self.batch_count(batch_size, drop_last)
        if not 0 <= start <= count:
            raise SpecError(f"start must be in [0, {count}], the number of batches of an epoch; got {start}")
        order = self.shuffled(generator)
        draws = None
        if self.augmentation is not None and self.augmentation.active:
            draws = self.augmentation.draw(len(self.train), generator)
        return self._batches(order, draws, batch_size, range(start, count))

    def _batches(
        self, order: Tensor, draws: Draws | None, batch_size: int, numbers: range
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for number in numbers:
            here = slice(number * batch_size, (number + 1) * batch_size)
            inputs = self.train.inputs.index_select(0, order[here])
            if draws is not None and self.augmentation is not None:
                inputs = self.augmentation.apply(inputs, Draws(*(each[here] for each in draws)), self.black)
            yield inputs, self.train.labels.index_select(0, order[here])
