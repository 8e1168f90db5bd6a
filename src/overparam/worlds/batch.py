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

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Batch:
        """Return the batch on ``device``, its floating-point tensors in ``dtype``, if one is given."""
        return Batch(*(None if each is None else moved(each, device, dtype) for each in self._tensors()))  # type: ignore[arg-type]

    def _tensors(self) -> tuple[Tensor | None, ...]:
        return self.inputs, self.targets, self.indices, self.clean


def moved(tensor: Tensor, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor on ``device``, in ``dtype`` if it is floating-point and one is given."""
    return tensor.to(device, dtype if tensor.is_floating_point() else None)
