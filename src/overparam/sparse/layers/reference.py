"""What kernels cannot compute, in a few lines of torch: second derivatives, and what torch.func and others trace."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from overparam.sparse.kernels.structure import Structure


def layer_product(structure: Structure, inputs: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Return a layer's batch-first outputs (batch, outputs, *positions), differentiable as often as one likes.

    A linear layer takes memory of order nonzeros times batch, a convolution that of its dense weight.
    """
    values, whole = values.reshape(-1), structure.convolution
    if whole is not None:
        weight = values.new_zeros(math.prod(whole.weight)).scatter(0, torch.from_numpy(whole.indices), values)
        padded = functional.pad(inputs, [side for axis in reversed(whole.axes) for side in (axis.before, axis.after)])
        convolve = functional.conv1d if len(whole.axes) == 1 else functional.conv2d
        strides, dilations = [axis.stride for axis in whole.axes], [axis.dilation for axis in whole.axes]
        return convolve(padded, weight.reshape(whole.weight), bias, strides, 0, dilations, whole.groups)
    table = structure.forward
    rows = torch.from_numpy(np.repeat(np.arange(table.rows), table.nonzeros_by_row))
    columns = torch.from_numpy(table.offsets.astype(np.int64))
    outputs = inputs.new_zeros(inputs.shape[0], table.rows).index_add(1, rows, inputs[:, columns] * values)
    return outputs if bias is None else outputs + bias
