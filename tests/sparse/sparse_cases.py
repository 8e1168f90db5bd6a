"""Structures, inputs and slow, obvious forms that the tests of this room share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.networks.tiles import FusedLayers

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Let torch fill what it allocates with NaN: what a kernel does not write is seen."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.utils.deterministic.fill_uninitialized_memory
        assert torch.ones(1).new_empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_mask(shape: tuple[int, ...], density: float, seed: int = 0) -> Tensor:
    """Return a mask with some rows without a nonzero, unless the density is 1."""
    mask = torch.rand(shape, generator=generator(seed)) < density
    if density < 1 and mask.numel():
        mask[torch.rand(shape[0], generator=generator(seed + 1)) < 0.2] = False
    return mask


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


def bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(torch.int32 if tensor.dtype == torch.float32 else torch.int64)


def same_bits(one: Tensor, two: Tensor) -> bool:
    return one.dtype == two.dtype and torch.equal(bits(one), bits(two))


def close(found: Tensor, expected: Tensor) -> bool:
    """Compare sums of a few hundred normal numbers, computed in different orders."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if not found.numel():
        return True
    scale = 1 + expected.abs().max().item()
    return (found - expected).abs().max().item() <= TOLERANCE[found.dtype] * scale * 10


def last(inputs: Tensor, width: int) -> Tensor:
    """Return (batch, channels, *positions) as (tiles, *positions, channels, width)."""
    batch, channels, *positions = inputs.shape
    tiles = inputs.reshape(batch // width, width, channels, *positions)
    axes = range(3, 3 + len(positions))
    return tiles.permute(0, *axes, 2, 1).contiguous()


def first(tiles: Tensor) -> Tensor:
    """Return (batch, channels, *positions) of (tiles, *positions, channels, width)."""
    count, *positions, channels, width = tiles.shape
    axes = range(1, 1 + len(positions))
    examples = tiles.permute(0, len(positions) + 2, len(positions) + 1, *axes)
    return examples.reshape(count * width, channels, *positions)


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0] or [1]


def size(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


SHAPES = {
    "linear": (lambda: nn.Linear(13, 7), (9, 13)),
    "linear, leading axes": (lambda: nn.Linear(13, 7), (2, 3, 13)),
    "linear, one example": (lambda: nn.Linear(13, 7, bias=False), (13,)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (5, 4, 11)),
    "conv1d, no batch": (lambda: nn.Conv1d(4, 6, 3), (4, 11)),
    "conv1d, same": (lambda: nn.Conv1d(2, 3, 4, padding="same", dilation=3), (3, 2, 12)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0)), (5, 4, 7, 6)),
    "conv2d, same": (lambda: nn.Conv2d(4, 6, (2, 3), padding="same"), (5, 4, 7, 6)),
    "conv2d, valid": (lambda: nn.Conv2d(4, 6, 3, padding="valid", groups=2, bias=False), (5, 4, 7, 6)),
    "conv2d, dilated": (lambda: nn.Conv2d(2, 4, 3, padding=2, dilation=(1, 2), groups=2), (2, 2, 7, 6)),
    "conv2d, no batch": (lambda: nn.Conv2d(4, 6, 3), (4, 7, 6)),
}
CASES = pytest.mark.parametrize(("make", "shape"), SHAPES.values(), ids=SHAPES)


def in_a_row(layers, relus, first, value):
    """Apply sparse layers as one operation, as a converted network does."""
    row = FusedLayers(layers[0])
    row.layers.extend(layers[1:])
    row.relus, row.first = list(relus), first
    return row(value)


def pair(make, density=0.4, dtype=torch.float32):
    """Return a dense layer with zeros, and its sparse copy."""
    dense = make().to(dtype)
    mask = random_mask(tuple(dense.weight.shape), density)
    dense.weight.data *= mask
    return dense, SparseLayer.from_dense(dense, mask), mask
