"""Between a batch as users have it and the tiles that kernels work on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from overparam.sparse.kernels import products as kernels
from overparam.sparse.kernels.compiled import KINDS
from overparam.sparse.kernels.lanes import REGISTER_BYTES
from overparam.sparse.layers.tracing import is_differentiated, is_traced, uncompiled

TILE = 128  # examples; wider tiles spread a layer's rows over more cache than a core has


@cache
def tile_width(batch: int, itemsize: int = 4, threads: int = 1) -> int:
    """Return the width of the tiles that a batch is cut into: a divisor of ``batch``, at most :data:`TILE`.

    A multiple of what a register holds where there is one, else the whole batch if it is small, else the largest
    divisor that leaves registers at least half full; in the last resort the whole batch. Where pairs of registers
    allow, there are as many tiles that each of ``threads`` has the same number.
    """
    register = REGISTER_BYTES // itemsize
    for width in range(TILE, register, -2 * register):
        if batch and batch % (width * threads) == 0:
            return width
    if batch <= TILE:
        return max(batch, 1)
    divisors = [width for width in range(TILE, register - 1, -1) if batch % width == 0]
    whole = [width for width in divisors if width % register == 0]
    return whole[0] if whole else (divisors[0] if divisors and divisors[0] > TILE // 2 else batch)


@uncompiled
def to_batch_last(inputs: Tensor, width: int | None = None) -> Tensor:
    """Return ``(tiles, *positions, channels, width)`` of ``(batch, channels, *positions)``, differentiable."""
    width = width or tile_width(len(inputs), inputs.element_size(), torch.get_num_threads())
    if inputs.dtype not in KINDS or is_traced():
        return viewed_last(inputs, width)
    out: Tensor = _ToBatchLast.apply(inputs, width)  # type: ignore[no-untyped-call]
    return out


@uncompiled
def to_batch_first(inputs: Tensor) -> Tensor:
    """Return ``(batch, channels, *positions)`` of ``(tiles, *positions, channels, width)``, differentiable."""
    if inputs.dtype not in KINDS or is_traced():
        return viewed_first(inputs)
    out: Tensor = _ToBatchFirst.apply(inputs)  # type: ignore[no-untyped-call]
    return out


def viewed_last(inputs: Tensor, width: int) -> Tensor:
    """Do as :func:`to_batch_last` with torch's own operations, for any dtype."""
    return inputs.reshape(inputs.shape[0] // width, width, *inputs.shape[1:]).movedim((1, 2), (-1, -2))


def viewed_first(inputs: Tensor) -> Tensor:
    """Do as :func:`to_batch_first` with torch's own operations, for any dtype."""
    return inputs.movedim((-1, -2), (1, 2)).flatten(0, 1)


def moving(shape: Sequence[int], width: int, itemsize: int) -> tuple[int, tuple[int, int, int]]:
    """Return what both kernels that transpose take for examples of shape ``(*positions, channels)``.

    These are the items of a tile, which are the registers that its examples fill, and width, columns and run.
    """
    *positions, channels = shape
    columns = channels * math.prod(positions)
    return -(-width * itemsize // REGISTER_BYTES), (width, columns, math.prod(positions) if positions else columns)


def moved_last(inputs: Tensor, width: int) -> Tensor:
    """Do as :func:`to_batch_last`, outside of autograd."""
    inputs = inputs.contiguous()  # to be kept while the kernel reads it
    batch, channels, *positions = inputs.shape
    outputs = inputs.new_empty((batch // width, *positions, channels, width))
    if outputs.numel():
        items, sizes = moving((*positions, channels), width, inputs.element_size())
        addresses = inputs.data_ptr(), outputs.data_ptr()
        kernels.to_batch_last(inputs.dtype, batch // width * items, *sizes, *addresses)
    return outputs


def moved_first(inputs: Tensor) -> Tensor:
    """Do as :func:`to_batch_first`, outside of autograd."""
    inputs = inputs.contiguous()
    tiles, *positions, channels, width = inputs.shape
    outputs = inputs.new_empty((tiles * width, channels, *positions))
    if outputs.numel():
        items, sizes = moving((*positions, channels), width, inputs.element_size())
        kernels.to_batch_first(inputs.dtype, tiles * items, *sizes, inputs.data_ptr(), outputs.data_ptr())
    return outputs


class _ToBatchLast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, width: int) -> Tensor:
        return moved_last(inputs, width)

    @staticmethod
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor, None]:
        return to_batch_first(errors) if is_differentiated(errors) else moved_first(errors), None


class _ToBatchFirst(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.width = inputs.shape[-1]
        return moved_first(inputs)

    @staticmethod
    def backward(ctx: Any, errors: Tensor) -> Tensor:
        return to_batch_last(errors, ctx.width) if is_differentiated(errors) else moved_last(errors, ctx.width)
