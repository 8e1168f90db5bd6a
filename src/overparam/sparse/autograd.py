"""The sparse product as an operation of torch's autograd, on batch-last tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from overparam.sparse import kernels
from overparam.sparse.compiled import Int32s, balanced_bounds, even_bounds
from overparam.sparse.lanes import REGISTER_BYTES
from overparam.sparse.layout import moved_first, moved_last, tile_width
from overparam.sparse.structure import Structure, Table

DTYPES = (torch.float32, torch.float64)


def sparse_product(inputs: Tensor, values: Tensor, bias: Tensor | None, structure: Structure) -> Tensor:
    """Return the layer's output ``(tiles, *structure.output, width)`` for ``(tiles, *structure.inputs, width)``.

    ``values`` (nonzeros,) are in the order of the dense weight; ``bias`` has one number for each output row. Gradients
    of all three are computed at a cost of order nonzeros times places times batch.
    """
    out: Tensor = _SparseProduct.apply(inputs, values, bias, structure)  # type: ignore[no-untyped-call]
    return out


def sparse_layer(inputs: Tensor, values: Tensor, bias: Tensor | None, structure: Structure) -> Tensor:
    """Return the output ``(batch, channels, *positions)`` for ``(batch, channels, *positions)``: batch-first.

    What :func:`sparse_product` does between two transpositions, as one operation: autograd takes time for each.
    """
    out: Tensor = _SparseLayer.apply(inputs, values, bias, structure)  # type: ignore[no-untyped-call]
    return out


def product(table: Table, inputs: Tensor, values: Tensor, bias: Tensor | None, outputs: Tensor) -> None:
    """Run the product kernel; all tensors contiguous and of one dtype."""
    tiles, width = outputs.shape[0], outputs.shape[-1]
    if not outputs.numel():
        return
    kernels.product(
        outputs.dtype,
        tiles * table.places * table.rows,
        table.address,
        values.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        inputs.data_ptr(),
        outputs.data_ptr(),
        width,
        0,
        0,
        bounds=_row_bounds(table, tiles),
    )


def gradient(structure: Structure, inputs: Tensor, errors: Tensor, bias: bool) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of values and bias (None unless asked for) from the inputs and the outputs' gradient."""
    table, tiles, width = structure.forward, errors.shape[0], errors.shape[-1]
    if not errors.numel():
        return errors.new_zeros(structure.size), errors.new_zeros(table.rows) if bias else None
    if table.slots is not None:
        return _places_gradient(structure, inputs, errors, bias)
    bounds = _row_bounds(table, tiles)
    apart = bounds is not None and tiles > 1
    threads = len(bounds) - 1 if bounds is not None and apart else 1
    sums = errors.new_empty((threads, structure.size) if apart else structure.size)
    biases = errors.new_empty((threads, table.rows) if apart else table.rows) if bias else None
    kernels.gradient(
        errors.dtype,
        tiles * table.rows,
        table.address,
        structure.size,
        sums.data_ptr(),
        0 if biases is None else biases.data_ptr(),
        inputs.data_ptr(),
        errors.data_ptr(),
        width,
        int(apart),
        bounds=bounds,
    )
    if not apart:
        return sums, biases
    return sums.sum(0), None if biases is None else biases.sum(0)


def _places_gradient(structure: Structure, inputs: Tensor, errors: Tensor, bias: bool) -> tuple[Tensor, Tensor | None]:
    """Do the same for a structure of many places."""
    table, tiles = structure.forward, errors.shape[0]
    bounds = _place_bounds(table, tiles)
    threads = 1 if bounds is None else len(bounds) - 1
    sums = errors.new_empty(threads, structure.size, REGISTER_BYTES // errors.element_size())
    biases = errors.new_empty(threads, table.rows) if bias else None
    kernels.places_gradient(
        errors.dtype,
        tiles * table.places,
        table.address,
        structure.size,
        sums.data_ptr(),
        0 if biases is None else biases.data_ptr(),
        inputs.data_ptr(),
        errors.data_ptr(),
        errors.shape[-1],
        bounds=bounds,
    )
    return sums.sum((0, 2)), None if biases is None else biases.sum(0)


def _row_bounds(table: Table, tiles: int) -> Int32s | None:
    """Return each thread's share of the rows of all tiles and places; None for one thread.

    If tiles can be shared out evenly, each thread has tiles of its own, which then stay in its cache from layer to
    layer; else rows are shared out so that each thread has about as many nonzeros.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return None
    found = table.shares.get((tiles, threads))
    if found is None:
        rows = table.places * table.rows
        if tiles % threads == 0:
            found = even_bounds(tiles, threads) * np.int32(rows)
        elif table.places == 1:
            found = balanced_bounds(np.tile(table.nonzeros_by_row, tiles), threads)
        else:
            found = even_bounds(tiles * table.places, threads) * np.int32(table.rows)
        table.shares[tiles, threads] = found
    return found


def _place_bounds(table: Table, tiles: int) -> Int32s | None:
    """Return each thread's share of the places of all tiles; None for one thread."""
    threads = torch.get_num_threads()
    return None if threads == 1 else even_bounds(tiles * table.places, threads)


def _outputs(inputs: Tensor, values: Tensor, bias: Tensor | None, structure: Structure) -> Tensor:
    outputs = inputs.new_empty((len(inputs), *structure.output, inputs.shape[-1]))
    product(structure.forward, inputs, values, bias, outputs)
    return outputs


def _gradients(
    ctx: Any, inputs: Tensor, values: Tensor, errors: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients that are asked for, of inputs, values and bias."""
    structure: Structure = ctx.structure
    to_inputs = to_values = to_bias = None
    if ctx.needs_input_grad[0]:
        to_inputs = torch.empty_like(inputs)
        product(structure.backward, errors, values, None, to_inputs)
    if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
        to_values, to_bias = gradient(structure, inputs, errors, ctx.needs_input_grad[2])
    return to_inputs, to_values, to_bias


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, values: Tensor, bias: Tensor | None, structure: Structure) -> Tensor:
        inputs = inputs.contiguous()
        ctx.save_for_backward(inputs, values)
        ctx.structure = structure
        return _outputs(inputs, values, bias, structure)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        inputs, values = ctx.saved_tensors
        return *_gradients(ctx, inputs, values, errors.contiguous()), None


class _SparseLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, values: Tensor, bias: Tensor | None, structure: Structure) -> Tensor:
        tiles = moved_last(inputs, tile_width(len(inputs), inputs.element_size()))
        ctx.save_for_backward(tiles, values)
        ctx.structure = structure
        return moved_first(_outputs(tiles, values, bias, structure))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        tiles, values = ctx.saved_tensors
        to_tiles, *others = _gradients(ctx, tiles, values, moved_last(errors, tiles.shape[-1]))
        to_values, to_bias = others
        return None if to_tiles is None else moved_first(to_tiles), to_values, to_bias, None
