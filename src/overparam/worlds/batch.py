"""Some examples of a world, as a training or an evaluation takes them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """``N`` examples.

    Attributes:
        inputs: ``(N, ...)``.
        targets: ``(N, ...)``, as trained on: with wrong labels where the world has label noise.
        indices: int64 ``(N,)``, which examples of their split these are; None where they are of no split.
        clean: the targets without label noise; None where ``targets`` are without it.
    """

    inputs: Tensor
    targets: Tensor
    indices: Tensor | None = None
    clean: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, start: int, end: int) -> Batch:
        """Return the examples from ``start`` up to ``end``, without copies."""
        return self.chosen(slice(start, end))

    def chosen(self, which: Tensor | slice) -> Batch:
        """Return the examples that a mask, numbers or a slice choose."""
        return Batch(*(each if each is None else each[which] for each in self._tensors()))  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on ``device``."""
        return Batch(*(each if each is None else each.to(device) for each in self._tensors()))  # type: ignore[arg-type]

    def _tensors(self) -> tuple[Tensor | None, ...]:
        return self.inputs, self.targets, self.indices, self.clean
