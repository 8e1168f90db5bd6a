"""What the kernels compute, in a few lines of torch.

Batches are batch-first here, ``(batch, features)`` or ``(batch, channels, *positions)``, and weights dense, of shape
``(outputs, inputs / groups, *kernel)``. ``indices`` are the flat indices of the nonzeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from overparam.sparse.kernels.structure import Axis


def linear_product(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the outputs (batch, outputs) of inputs (batch, inputs)."""
    outputs = inputs @ weight.T
    return outputs if bias is None else outputs + bias


def linear_transposed(errors: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the inputs (batch, inputs) from that of the outputs."""
    return errors @ weight


def linear_gradient(inputs: Tensor, errors: Tensor, indices: Tensor) -> Tensor:
    """Return the gradient at the nonzeros (nonzeros,)."""
    return (errors.T @ inputs).reshape(-1)[indices]


def conv_product(
    inputs: Tensor, weight: Tensor, bias: Tensor | None = None, *, axes: Sequence[Axis], groups: int = 1
) -> Tensor:
    """Return the outputs (batch, outputs, *positions) of a convolution over one or two ``axes``."""
    padded = functional.pad(inputs, [side for axis in reversed(axes) for side in (axis.before, axis.after)])
    convolve = functional.conv1d if len(axes) == 1 else functional.conv2d
    strides, dilations = [axis.stride for axis in axes], [axis.dilation for axis in axes]
    return convolve(padded, weight, bias, strides, 0, dilations, groups)


def conv_transposed(errors: Tensor, weight: Tensor, *, inputs: int, axes: Sequence[Axis], groups: int = 1) -> Tensor:
    """Return the gradient of the inputs (batch, ``inputs``, *positions) from that of the outputs."""
    given = errors.new_zeros(len(errors), inputs, *(axis.size for axis in axes), requires_grad=True)
    outputs = conv_product(given, weight, axes=axes, groups=groups)
    return torch.autograd.grad(outputs, given, errors)[0]


def conv_gradient(inputs: Tensor, errors: Tensor, indices: Tensor, *, axes: Sequence[Axis], groups: int = 1) -> Tensor:
    """Return the gradient at the nonzeros (nonzeros,)."""
    kernel = [axis.kernel for axis in axes]
    weight = inputs.new_zeros(errors.shape[1], inputs.shape[1] // groups, *kernel, requires_grad=True)
    outputs = conv_product(inputs, weight, axes=axes, groups=groups)
    return torch.autograd.grad(outputs, weight, errors)[0].reshape(-1)[indices]
