"""Sparse linear layers and convolutions; what they share is in :mod:`overparam.sparse.layers.layer`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.sparse.kernels.structure import Axis, Indices, Structure, conv_structure, linear_structure
from overparam.sparse.layers.autograd import FIRST, Link, fused_layers
from overparam.sparse.layers.layer import SparseLayer
from overparam.sparse.layers.tracing import uncompiled

__all__ = ["SparseConv1d", "SparseConv2d", "SparseLayer", "SparseLinear"]

Sizes = int | Sequence[int]


class SparseLinear(SparseLayer, dense=nn.Linear):
    """A linear layer with a sparse weight of shape (out_features, in_features).

    Args:
        in_features, out_features: sizes, 0 or more.
        bias: whether there is one.
        density: share in [0, 1] of the weights that are there, in a random structure of exactly ``density`` times
            size (read as decimals, halves up) nonzeros, all equally likely; nothing of dense size is allocated.
        indices: instead, the flat indices of the nonzeros: int64, ascending.
        generator: what draws structure and values; torch's global one by default.
        device: the CPU, where it computes, or meta, to be filled later; torch's default one by default.
        dtype: float32 or float64; torch's default one by default.

    Raises :class:`SpecError` for arguments out of these ranges. See :meth:`reset_parameters` for the values.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        density: float | Fraction | None = None,
        indices: Tensor | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if min(in_features, out_features) < 0:
            raise SpecError(f"in_features and out_features must be 0 or more, got {in_features} and {out_features}")
        super().__init__((out_features, in_features), bias, density, indices, generator, device, dtype)

    @property
    def in_features(self) -> int:
        """Number of inputs."""
        return self.shape[1]

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return self.shape[0]

    @staticmethod
    def _arguments(layer: Any) -> tuple[Any, ...]:
        return layer.in_features, layer.out_features

    @uncompiled
    def forward(self, input: Tensor) -> Tensor:
        """Return (*, out_features) of an input (*, in_features) with any leading dimensions."""
        inputs = input
        if not inputs.dim() or inputs.shape[-1] != self.in_features:
            raise SpecError(f"inputs must be of shape (*, {self.in_features}), got {tuple(inputs.shape)}")
        leading = inputs.shape[:-1]
        batch = inputs.reshape(math.prod(leading), self.in_features)
        outputs = fused_layers(batch, [self.link((self.in_features,))], FIRST)
        return outputs.reshape(*leading, self.out_features)

    @uncompiled
    def forward_last(self, tiles: Tensor, order: Indices | None = None) -> Tensor:
        """Return (tiles, out_features, width) of tiles (tiles, in_features, width); see :class:`SparseLayer`."""
        if tiles.dim() != 3 or tiles.shape[1] != self.in_features:
            raise SpecError(f"tiles must be of shape (tiles, {self.in_features}, width), got {tuple(tiles.shape)}")
        return fused_layers(tiles, [self.link(tiles.shape[1:-1], order)])

    def link(self, inputs: Sequence[int], order: Indices | None = None, relu: bool = False) -> Link:
        """Return what a row of layers needs of this one; see :class:`SparseLayer`."""
        if tuple(inputs) != (self.in_features,):
            raise SpecError(f"inputs must have {self.in_features} features, got {tuple(inputs)}")
        if order is not None and order.shape != (self.in_features,):
            raise SpecError(f"order must be of shape ({self.in_features},), got {order.shape}")
        return Link(self._structure(None if order is None else id(order), order), self.values, self.bias, relu)

    def _build(self, key: object, held: Any) -> Structure:
        return linear_structure(self._places, self.out_features, self.in_features, held)

    def extra_repr(self) -> str:
        """Describe the layer in its repr."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"nonzeros={self.nonzeros}"
        )


class _SparseConv(SparseLayer):
    """What convolutions of one and two axes share."""

    AXES: int
    POSITIONS: str  # their names, for messages

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | Literal["same", "valid"] = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        density: float | Fraction | None = None,
        indices: Tensor | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if padding_mode != "zeros":
            raise SpecError(f"padding_mode must be 'zeros' for a sparse convolution, got {padding_mode!r}")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if groups < 1 or channels < 1 or channels % groups:
                raise SpecError(f"{name} must be a positive multiple of groups={groups}, got {channels}")
        kernel = self._sizes("kernel_size", kernel_size, 1)
        strides = self._sizes("stride", stride, 1)
        dilations = self._sizes("dilation", dilation, 1)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise SpecError(f"padding must be 'same', 'valid' or numbers, got {padding!r}")
            if padding == "same" and set(strides) != {1}:
                raise SpecError(f"padding 'same' needs stride 1, got stride={stride}")
        super().__init__(
            (out_channels, in_channels // groups, *kernel), bias, density, indices, generator, device, dtype
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.dilation, self.groups = kernel, strides, dilations, groups
        self.padding: tuple[int, ...] | str = (
            padding if isinstance(padding, str) else self._sizes("padding", padding, 0)
        )
        self.padding_mode = padding_mode

    @classmethod
    def _sizes(cls, name: str, given: Sizes, least: int) -> tuple[int, ...]:
        sizes = (given,) * cls.AXES if isinstance(given, int) else tuple(given)
        if len(sizes) != cls.AXES or min(sizes) < least:
            raise SpecError(f"{name} must be {least} or more, one number or {cls.AXES}, got {given!r}")
        return sizes

    @staticmethod
    def _arguments(layer: Any) -> tuple[Any, ...]:
        if layer.padding_mode != "zeros":
            raise SpecError(f"padding_mode must be 'zeros' for a sparse convolution, got {layer.padding_mode!r}")
        channels = layer.in_channels, layer.out_channels
        return *channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups

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
        inputs = input
        single = inputs.dim() == self.AXES + 1
        if inputs.dim() not in (self.AXES + 1, self.AXES + 2) or inputs.shape[-1 - self.AXES] != self.in_channels:
            shape = f"batch, {self.in_channels}, {self.POSITIONS}"
            raise SpecError(f"inputs must be of shape ({shape}), got {tuple(inputs.shape)}")
        batch = inputs[None] if single else inputs
        outputs = fused_layers(batch, [self.link((*batch.shape[2:], self.in_channels))], FIRST)
        return outputs[0] if single else outputs

    @uncompiled
    def forward_last(self, tiles: Tensor, order: Indices | None = None) -> Tensor:
        """Return (tiles, *positions, out_channels, width) of (tiles, *positions, in_channels, width)."""
        if tiles.dim() != self.AXES + 3 or tiles.shape[-2] != self.in_channels:
            shape = f"tiles, {self.POSITIONS}, {self.in_channels}, width"
            raise SpecError(f"tiles must be of shape ({shape}), got {tuple(tiles.shape)}")
        return fused_layers(tiles, [self.link(tiles.shape[1:-1], order)])

    def link(self, inputs: Sequence[int], order: Indices | None = None, relu: bool = False) -> Link:
        """Return what a row of layers needs of this one; see :class:`SparseLayer`."""
        if order is not None:
            raise SpecError("order is for linear layers; a convolution's input has its channels in order")
        *positions, channels = inputs
        if len(positions) != self.AXES or channels != self.in_channels:
            raise SpecError(f"inputs must be {self.POSITIONS} with {self.in_channels} channels, got {tuple(inputs)}")
        return Link(self._structure(tuple(positions), None), self.values, self.bias, relu)

    def _build(self, key: Any, held: object) -> Structure:
        return conv_structure(self._places, self.out_channels, self.in_channels, self.groups, self.axes(key))

    def extra_repr(self) -> str:
        """Describe the layer in its repr."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding!r}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}, "
            f"nonzeros={self.nonzeros}"
        )


class SparseConv1d(_SparseConv, dense=nn.Conv1d):
    """A convolution over one axis with a sparse weight of shape (out_channels, in_channels / groups, length).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as of nn.Conv1d; ``padding``
            may be ``'same'`` or ``'valid'``.
        padding_mode: only ``'zeros'``.
        density, indices, generator, device, dtype: as of :class:`SparseLinear`.

    Raises :class:`SpecError` for arguments out of these ranges. See :meth:`reset_parameters` for the values.
    """

    AXES = 1
    POSITIONS = "length"


class SparseConv2d(_SparseConv, dense=nn.Conv2d):
    """A convolution over two axes with a sparse weight of shape (out_channels, in_channels / groups, height, width).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as of nn.Conv2d; ``padding``
            may be ``'same'`` or ``'valid'``.
        padding_mode: only ``'zeros'``.
        density, indices, generator, device, dtype: as of :class:`SparseLinear`.

    Raises :class:`SpecError` for arguments out of these ranges. See :meth:`reset_parameters` for the values.
    """

    AXES = 2
    POSITIONS = "height, width"
