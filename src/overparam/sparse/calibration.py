"""How long layers take on this machine, dense and sparse: measured once for each shape and kept.

The times of a sparse layer are a line over its density, measured at two points. They are kept in the user's cache
folder for each processor, number of threads and version of torch and of the kernels.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torch.nn import functional

from overparam.folders import writable_cache_folder
from overparam.sparse import dense_kernels, kernels
from overparam.sparse.autograd import Link, sparse_chain
from overparam.sparse.compiled import LOCK_SECONDS, kernel_folder
from overparam.sparse.lanes import REGISTER_BYTES
from overparam.sparse.layout import tile_width, to_batch_first, to_batch_last
from overparam.sparse.structure import Axis, conv_structure, linear_structure

LOW, HIGH = 0.02, 0.2  # densities that are measured
LEAST_SECONDS = 0.02  # a measurement is repeated until it has taken so long


@dataclass(frozen=True)
class Times:
    """Microseconds of forward and both gradients of one layer on one batch.

    Attributes:
        dense: torch's own dense layer, batch first.
        matrix: the compiled dense layer of perceptrons; 0 for a convolution.
        fixed, each: of the sparse layer: ``fixed + density * each``.
        compiled_fixed, compiled_each: the same within a compiled epoch; 0 for a convolution.
        border: to transpose the layer's input and output there and back.
    """

    dense: float
    matrix: float
    fixed: float
    each: float
    compiled_fixed: float
    compiled_each: float
    border: float

    def sparse(self, density: float) -> float:
        """Return the microseconds of the sparse layer within a converted network."""
        return self.fixed + density * self.each

    def compiled(self, density: float) -> float:
        """Return the microseconds of the sparse layer within a compiled epoch."""
        return self.compiled_fixed + density * self.compiled_each

    @property
    def crossover(self) -> float:
        """Density below which the sparse layer is faster within a converted network, in [0, 1]."""
        return crossover(self.dense, self.fixed, self.each)

    @property
    def compiled_crossover(self) -> float | None:
        """Density below which the sparse layer is faster within a compiled epoch, in [0, 1]; None: a convolution."""
        return crossover(self.matrix, self.compiled_fixed, self.compiled_each) if self.matrix else None


def crossover(dense: float, fixed: float, each: float) -> float:
    """Return the density in [0, 1] below which ``fixed + density * each`` is less than ``dense``."""
    if each <= 0:
        return 1.0 if fixed < dense else 0.0
    return min(max((dense - fixed) / each, 0.0), 1.0)


@dataclass(frozen=True)
class Shape:
    """What the time of a layer depends on besides its density.

    Attributes:
        weight: shape of the dense weight.
        axes: for a convolution (size, kernel, stride, before, after, dilation) of each axis; empty for a linear layer.
        groups: of a convolution.
        batch: examples.
        threads: torch's.
        dtype: ``float32`` or ``float64``.
    """

    weight: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]
    groups: int
    batch: int
    threads: int
    dtype: str

    @property
    def key(self) -> str:
        """A line of text, the same for the same shape."""
        axes = ";".join(",".join(map(str, axis)) for axis in self.axes)
        weight = "x".join(map(str, self.weight))
        return f"{weight} {axes or 'linear'} g{self.groups} b{self.batch} t{self.threads} {self.dtype}"


_known: dict[str, Times] = {}


def measured(shape: Shape) -> Times:
    """Return a shape's times: from memory, from the cache of this machine, or measured now."""
    if shape.key in _known:
        return _known[shape.key]
    path = calibration_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):  # others measuring would spoil it
        kept = _read(path)
        if shape.key not in kept:
            kept[shape.key] = vars(_measure(shape))
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(kept, indent=1))
            partial.replace(path)
    _known[shape.key] = Times(**kept[shape.key])
    return _known[shape.key]


def known_times() -> dict[str, Times]:
    """Return all times that are kept for this machine, by the text of the shape."""
    return {key: Times(**times) for key, times in _read(calibration_file()).items()}


@cache
def calibration_file() -> Path:
    """Return where the times of this machine are kept."""
    from overparam.machine import processor

    mark = f"{processor()}-{torch.__version__}-{platform.python_version()}"
    plain = "".join(letter if letter.isalnum() or letter in ".-+" else "-" for letter in mark)
    return writable_cache_folder() / "calibration" / f"{plain}-{kernel_folder().name}.json"


def _read(path: Path) -> dict[str, dict[str, float]]:
    """Return what is kept; what is damaged or of another form is left out, to be measured anew."""
    found: Any = None
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text())
    fields = set(Times.__dataclass_fields__)
    kept = found.items() if isinstance(found, dict) else ()
    return {key: times for key, times in kept if isinstance(times, dict) and set(times) == fields}


def _best(call: Callable[[], Any]) -> float:
    """Return the least microseconds of a call, over some repetitions."""
    call()  # compiles, and warms up
    best, spent, count = math.inf, 0.0, 0
    while count < 3 or (spent < LEAST_SECONDS and count < 50):
        began = time.perf_counter()
        call()
        seconds = time.perf_counter() - began
        best, spent, count = min(best, seconds), spent + seconds, count + 1
    return best * 1e6


def _measure(shape: Shape) -> Times:
    dtype = getattr(torch, shape.dtype)
    generator = torch.Generator().manual_seed(0)
    positions = [axis[0] for axis in shape.axes]
    channels = shape.weight[1] * shape.groups
    inputs = torch.randn(shape.batch, channels, *positions, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(shape.weight, generator=generator, dtype=dtype).requires_grad_()
    bias = torch.zeros(shape.weight[0], dtype=dtype).requires_grad_()
    outputs = _dense(shape, inputs, weight, bias)
    errors = torch.randn(outputs.shape, generator=generator, dtype=dtype)

    def dense() -> None:
        inputs.grad = weight.grad = bias.grad = None
        _backward(_dense(shape, inputs, weight, bias), errors)

    width = tile_width(shape.batch, inputs.element_size(), shape.threads)
    last_inputs = to_batch_last(inputs.detach(), width)
    last_errors = to_batch_last(errors, width)
    sparse, compiled = [], []
    for density in (LOW, HIGH):
        mask = torch.rand(shape.weight, generator=generator) < density
        indices = np.flatnonzero(mask.numpy())
        structure = _structure(shape, indices)
        values = weight.detach().reshape(-1)[torch.from_numpy(indices)].requires_grad_()
        tiles = last_inputs.detach().requires_grad_()

        def call(tiles: Tensor = tiles, values: Tensor = values, structure: Any = structure) -> None:
            tiles.grad = values.grad = bias.grad = None
            _backward(sparse_chain(tiles, [Link(structure, values, bias)]), last_errors)

        sparse.append(_best(call))
        if not shape.axes:
            compiled.append(_compiled(shape, dtype, structure))
    sparse[0] = min(sparse)  # fewer nonzeros never take longer, but somebody else may have used the processor
    slope = (sparse[1] - sparse[0]) / (HIGH - LOW)
    compiled = [min(compiled), compiled[1]] if compiled else []
    compiled_slope = (compiled[1] - compiled[0]) / (HIGH - LOW) if compiled else 0.0

    def border() -> None:
        to_batch_first(to_batch_last(inputs.detach(), width))
        to_batch_first(to_batch_last(errors, width))

    return Times(
        dense=_best(dense),
        matrix=_matrix(shape, dtype) if not shape.axes else 0.0,
        fixed=max(sparse[0] - LOW * slope, 0.0),
        each=slope,
        compiled_fixed=max(compiled[0] - LOW * compiled_slope, 0.0) if compiled else 0.0,
        compiled_each=compiled_slope,
        border=_best(border),
    )


def _backward(outputs: Tensor, errors: Tensor) -> None:
    """Go back from a loss with this gradient; ``outputs.backward(errors)`` would import sympy, for most of a second."""
    _Loss.apply(outputs, errors).backward()  # type: ignore[no-untyped-call]


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, errors: Tensor) -> Tensor:
        ctx.save_for_backward(errors)
        return outputs.new_zeros(())

    @staticmethod
    def backward(ctx: Any, loss: Tensor) -> tuple[Tensor, None]:
        (errors,) = ctx.saved_tensors
        return errors, None


def _dense(shape: Shape, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if not shape.axes:
        return functional.linear(inputs, weight, bias)
    convolution: Any = functional.conv1d if len(shape.axes) == 1 else functional.conv2d
    padding = [axis[3] for axis in shape.axes]
    if any(axis[3] != axis[4] for axis in shape.axes):  # padding "same" of an even kernel
        inputs = functional.pad(inputs, [side for axis in reversed(shape.axes) for side in axis[3:5]])
        padding = [0] * len(padding)
    stride, dilation = [axis[2] for axis in shape.axes], [axis[5] for axis in shape.axes]
    out: Tensor = convolution(inputs, weight, bias, stride, padding, dilation, shape.groups)
    return out


def _structure(shape: Shape, indices: Any) -> Any:
    if not shape.axes:
        rows, columns = shape.weight
        return linear_structure(indices, rows, columns)
    axes = [Axis(*axis) for axis in shape.axes]
    return conv_structure(indices, shape.weight[0], shape.weight[1] * shape.groups, shape.groups, axes)


def _share(shape: Shape) -> int:
    """Return the columns that one thread has in a compiled epoch."""
    return max(32, -(-shape.batch // shape.threads // 32) * 32)


def _compiled(shape: Shape, dtype: torch.dtype, structure: Any) -> float:
    """Return the microseconds of the kernels alone on one thread's share of a batch."""
    rows, columns = shape.weight
    width = _share(shape)
    inputs, outputs = torch.ones(columns, width, dtype=dtype), torch.ones(rows, width, dtype=dtype)
    values = torch.ones(max(structure.size, 1), dtype=dtype)
    gradients, biases = torch.empty_like(values), torch.empty(rows, dtype=dtype)
    one = np.array([0, 1], dtype=np.int32)

    def call() -> None:
        forward, backward = structure.forward, structure.backward
        to, source = outputs.data_ptr(), inputs.data_ptr()
        all_rows, all_columns = one * np.int32(rows), one * np.int32(columns)
        weight, found, sums = values.data_ptr(), gradients.data_ptr(), biases.data_ptr()
        table, back = forward.address, backward.address
        kernels.product(dtype, rows, table, weight, 0, source, to, width, 0, 0, bounds=all_rows)
        kernels.product(dtype, columns, back, weight, 0, to, source, width, 0, 0, bounds=all_columns)
        kernels.gradient(dtype, rows, table, found, sums, source, to, width, 1, bounds=all_rows)

    return _best(call)


def _matrix(shape: Shape, dtype: torch.dtype) -> float:
    rows, columns = shape.weight
    width = _share(shape)
    inputs, outputs = torch.ones(columns, width, dtype=dtype), torch.ones(rows, width, dtype=dtype)
    values, gradients = torch.zeros(rows, columns, dtype=dtype), torch.empty(rows, columns, dtype=dtype)
    one = np.array([0, 1], dtype=np.int32)

    rowwise = torch.ones(width, columns, dtype=dtype)
    groups = width * dtype.itemsize // REGISTER_BYTES  # registers of examples

    def call() -> None:
        weight, to, source, turned = (each.data_ptr() for each in (values, outputs, inputs, rowwise))
        product = dense_kernels.matrix_product
        product(dtype, 1, rows, width, columns, weight, columns, 1, 0, source, width, to, width, 0, 0, bounds=one)
        kernels.to_batch_first(dtype, groups, width, columns, columns, source, turned, bounds=one * np.int32(groups))
        found = gradients.data_ptr()
        product(dtype, 1, rows, columns, width, to, width, 1, 0, turned, columns, found, columns, 0, 0, bounds=one)
        product(dtype, 1, columns, width, rows, weight, 1, columns, 0, to, width, source, width, 0, 0, bounds=one)

    return _best(call)
