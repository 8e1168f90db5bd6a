"""Sparse linear layers and convolutions; what they share is in :mod:`overparam.sparse.layers.layer`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.sparse.kernels.structure import Axis, Structure, conv_structure, linear_structure
from overparam.sparse.layers.autograd import FIRST, Link, fused_layers
from overparam.sparse.layers.layer import SparseLayer
from overparam.sparse.layers.tracing import uncompiled

__all__ = ["SparseConv1d", "SparseConv2d", "SparseLayer", "SparseLinear"]


class SparseLinear(SparseLayer):
    """A linear layer with a sparse weight of shape (out_features, in_features).

    Args:
        in_features, out_features, bias: as of nn.Linear.
        density: share in [0, 1] of the weights that are there, in a random structure of exactly ``density`` times
            size (read as decimals, halves up) nonzeros, all equally likely; nothing of dense size is allocated.
        indices: instead, the flat indices of the nonzeros: int64, ascending.
        generator: what draws structure and values; torch's global one by default.
        device: the CPU, where it computes, or meta, to be filled later; torch's default one by default.
        dtype: float32 or float64; torch's default one by default.

    Raises :class:`SpecError` for arguments out of these ranges. See :meth:`reset_parameters` for the values.
    """

    DENSE = nn.Linear
    in_features: int
    out_features: int

    @uncompiled
    def forward(self, input: Tensor) -> Tensor:
        """Return (*, out_features) of an input (*, in_features) with any leading dimensions."""
        if not input.dim() or input.shape[-1] != self.in_features:
            raise SpecError(f"inputs must be of shape (*, {self.in_features}), got {tuple(input.shape)}")
        leading = input.shape[:-1]
        batch = input.reshape(math.prod(leading), self.in_features)
        outputs = fused_layers(batch, [self.link((self.in_features,))], FIRST)
        return outputs.reshape(*leading, self.out_features)

    def link(self, inputs: Sequence[int], relu: bool = False) -> Link:
        """Return what a row of layers needs of this one; see :class:`SparseLayer`."""
        if tuple(inputs) != (self.in_features,):
            raise SpecError(f"inputs must have {self.in_features} features, got {tuple(inputs)}")
        return Link(self._structure(()), self.values, self.bias, relu)

    def _build(self, positions: tuple[int, ...]) -> Structure:
        return linear_structure(self._places, self.out_features, self.in_features)


class _SparseConv(SparseLayer):
    """What convolutions of one and two axes share."""

    AXES: int
    POSITIONS: str  # their names, for messages
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str

    @classmethod
    def _check(cls, dense: Any) -> None:
        if dense.padding_mode != "zeros":
            raise SpecError(f"padding_mode must be 'zeros' for a sparse convolution, got {dense.padding_mode!r}")
        for name, least in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0)):
            sizes = getattr(dense, name)
            if not isinstance(sizes, str) and (len(sizes) != cls.AXES or min(sizes) < least):
                raise SpecError(f"{name} must be {least} or more, one number or {cls.AXES}, got {sizes}")

    def axes(self, positions: Sequence[int]) -> list[Axis]:
        """Return the spatial axes for images of these sizes; SpecError if the kernel does not fit."""
        found = []
        for axis, size in enumerate(positions):
            kernel, dilation = self.kernel_size[axis], self.dilation[axis]
            if isinstance(self.padding, tuple):
                before = after = self.padding[axis]
            else:
                both = dilation * (kernel - 1) if self.padding == "same" else 0
                before, after = both // 2, both - both // 2
            found.append(Axis(size, kernel, self.stride[axis], before, after, dilation))
        if min(axis.output for axis in found) < 1:
            raise SpecError(f"inputs must be at least as large as the kernel, got sizes {tuple(positions)} for {self}")
        return found

    @uncompiled
    def forward(self, input: Tensor) -> Tensor:
        """Return (batch, out_channels, *positions) of an input (batch, in_channels, *positions); no batch is fine."""
        single = input.dim() == self.AXES + 1
        if input.dim() not in (self.AXES + 1, self.AXES + 2) or input.shape[-1 - self.AXES] != self.in_channels:
            shape = f"batch, {self.in_channels}, {self.POSITIONS}"
            raise SpecError(f"inputs must be of shape ({shape}), got {tuple(input.shape)}")
        batch = input[None] if single else input
        outputs = fused_layers(batch, [self.link((*batch.shape[2:], self.in_channels))], FIRST)
        return outputs[0] if single else outputs

    def link(self, inputs: Sequence[int], relu: bool = False) -> Link:
        """Return what a row of layers needs of this one; see :class:`SparseLayer`."""
        *positions, channels = inputs
        if len(positions) != self.AXES or channels != self.in_channels:
            raise SpecError(f"inputs must be {self.POSITIONS} with {self.in_channels} channels, got {tuple(inputs)}")
        return Link(self._structure(tuple(positions)), self.values, self.bias, relu)

    def _build(self, positions: tuple[int, ...]) -> Structure:
        axes = self.axes(positions)
        return conv_structure(self._places, self.out_channels, self.in_channels, self.groups, axes)


class SparseConv1d(_SparseConv):
    """A convolution over one axis with a sparse weight of shape (out_channels, in_channels / groups, length).

    Arguments are those of nn.Conv1d (padding with zeros only) and the keywords of :class:`SparseLinear`.
    """

    DENSE = nn.Conv1d
    AXES = 1
    POSITIONS = "length"


class SparseConv2d(_SparseConv):
    """A convolution over two axes with a sparse weight of shape (out_channels, in_channels / groups, height, width).

    Arguments are those of nn.Conv2d (padding with zeros only) and the keywords of :class:`SparseLinear`.
    """

    DENSE = nn.Conv2d
    AXES = 2
    POSITIONS = "height, width"
