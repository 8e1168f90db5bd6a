"""The examples of a training, validation or test set: finite, in memory, or endless, made when they are needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from overparam.worlds.batch import Batch, moved


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
    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Split:
        """Return the split on ``device``, its floating-point tensors in ``dtype``, if one is given."""


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

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> FiniteSplit:
        """Return the split there."""
        clean = None if self.clean is None else moved(self.clean, device, dtype)
        return FiniteSplit(moved(self.inputs, device, dtype), moved(self.targets, device, dtype), clean)


@dataclass(frozen=True, eq=False)
class EndlessSplit(Split):
    """A stream of examples of which none comes twice: epoch ``k`` has the numbers from ``k * epoch`` on, in order.

    Each example is a pure function of its number, so a training that is taken up again goes on with the same ones, and
    of ``n`` workers the ``k``-th may take every ``n``-th number of an epoch's order.

    Args:
        draw: the examples with given numbers, as a network sees them.
        epoch: how many count as one epoch.
        held_out: other examples of the same distribution, which metrics are measured on.
        device, dtype: where the examples are wanted, and in which numbers; None: as they are drawn.
    """

    draw: Callable[[Tensor], tuple[Tensor, Tensor]]
    epoch: int
    held_out: Batch
    device: torch.device | str = "cpu"
    dtype: torch.dtype | None = None

    def order(self, epoch: int, generator: torch.Generator) -> Tensor:
        """Return the numbers of this epoch as they come: all are new, so there is nothing to shuffle."""
        return torch.arange(epoch * self.epoch, (epoch + 1) * self.epoch)

    def fetch(self, indices: Tensor) -> Batch:
        """Make the examples."""
        return Batch(*self.draw(indices.cpu()), indices).to(self.device, self.dtype)

    def examples(self) -> Batch:
        """Return the examples that were held out: none of them is ever trained on."""
        return self.held_out

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> EndlessSplit:
        """Return the split there; examples are drawn on the CPU and moved."""
        return replace(self, held_out=self.held_out.to(device, dtype), device=device, dtype=dtype)
