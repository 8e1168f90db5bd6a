"""Between a batch as users have it and the tiles that kernels work on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from overparam.sparse.kernels import products
from overparam.sparse.kernels.compiled import KINDS
from overparam.sparse.kernels.lanes import REGISTER_BYTES
from overparam.sparse.kernels.program import At, Program
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
def transposed(inputs: Tensor, width: int | None = None) -> Tensor:
    """Return ``(batch, channels, *positions)`` of ``(tiles, *positions, channels, width)``; with a ``width``, tiles."""
    if inputs.dtype not in KINDS or is_traced():
        return viewed(inputs, width)
    out: Tensor = _Transposed.apply(inputs, width)  # type: ignore[no-untyped-call]
    return out


def viewed(inputs: Tensor, width: int | None = None) -> Tensor:
    """Do as :func:`transposed` with torch's own operations, for any dtype."""
    if width is None:
        return inputs.movedim((-1, -2), (1, 2)).flatten(0, 1)
    return inputs.reshape(inputs.shape[0] // width, width, *inputs.shape[1:]).movedim((1, 2), (-1, -2))


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, width: int | None) -> Tensor:
        ctx.width = inputs.shape[-1] if width is None else None
        return _moved(inputs, width)

    @staticmethod
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor, None]:
        return (viewed if is_differentiated(errors) else _moved)(errors, ctx.width), None


def _moved(inputs: Tensor, width: int | None) -> Tensor:
    inputs = inputs.contiguous()  # to be kept while the kernel reads it
    if width is None:
        tiles, *positions, channels, wide = inputs.shape
        outputs = inputs.new_empty(tiles * wide, channels, *positions)
    else:
        batch, channels, *positions = inputs.shape
        tiles, wide = batch // width, width
        outputs = inputs.new_empty(tiles, *positions, channels, wide)
    if outputs.numel():
        shape = *positions, channels
        mover = _mover(shape, tiles, wide, width is None, inputs.dtype, torch.get_num_threads())
        mover.run((inputs.data_ptr(), outputs.data_ptr()))
    return outputs


@lru_cache(maxsize=256)
def _mover(shape: tuple[int, ...], tiles: int, width: int, back: bool, dtype: torch.dtype, threads: int) -> Program:
    program = Program(dtype, tiles, threads)
    add_move(program, shape, width, At(0), At(1), back)
    return program


def add_move(program: Program, shape: Sequence[int], width: int, source: At, target: At, back: bool) -> None:
    """Let a program copy batch-first examples of shape ``(*positions, channels)`` to tiles, or tiles ``back``."""
    *positions, channels = shape
    columns = channels * math.prod(positions)
    if columns:
        registers = -(-width * program.dtype.itemsize // REGISTER_BYTES)  # that a tile's examples fill
        run = math.prod(positions) if positions else columns
        examples = program.by_tile(registers)
        program.add(products.transpose, examples, width, columns, run, source, target, int(back))
