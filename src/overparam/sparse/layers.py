"""Layers whose weight is a list of nonzeros: memory and time of training are of order of the nonzeros.

A layer holds the nonzeros' ``values`` (what is trained) and their flat ``indices`` into the dense weight; the zeros
exist nowhere, neither in the weight nor in its gradient nor in the state of an optimiser.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from overparam.errors import SpecError
from overparam.prune.counts import exact_count
from overparam.sparse.autograd import DTYPES, FIRST, Link, forget_chains, sparse_chain
from overparam.sparse.drawing import checked_density, random_indices
from overparam.sparse.structure import LARGEST, Axis, Indices, Structure, conv_structure, linear_structure

Dense = nn.Linear | nn.Conv1d | nn.Conv2d
Sizes = int | Sequence[int]
KEPT_STRUCTURES = 8  # input sizes (or orders of inputs) that a layer remembers the lists of


class SparseLayer(nn.Module):
    """Base of layers with a sparse weight; make one with a subclass or with :meth:`from_dense`.

    Attributes:
        values: the nonzeros, (nonzeros,), in the order of the dense weight's flattened elements. Some may be 0: a
            nonzero is a weight that is there and is trained.
        bias: (outputs,), or None.
        indices: flat indices of the nonzeros into the dense weight, (nonzeros,), int64, ascending; in the state_dict.
        shape: of the dense weight, (outputs, inputs / groups, *kernel).

    Loading a state_dict with another number of nonzeros changes the layer's; an optimiser's state is then to be loaded
    too. To change the structure during training see :mod:`overparam.sparse.topology`. It computes in float32 or
    float64, on the CPU.
    """

    values: nn.Parameter
    bias: nn.Parameter | None
    indices: Tensor
    shape: tuple[int, ...]

    def __init__(
        self,
        shape: tuple[int, ...],
        bias: bool,
        density: float | Fraction | None,
        indices: Tensor | None,
        generator: torch.Generator | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        dtype = dtype or torch.get_default_dtype()
        if dtype not in DTYPES:
            raise SpecError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        self.shape = shape
        size = math.prod(shape)
        if (density is None) == (indices is None):
            raise SpecError("give either density (for a random structure) or indices (of the nonzeros), not both")
        if density is not None:
            count = exact_count(checked_density(density), size)
        elif indices is not None:
            check_indices(indices, size)
            count = len(indices)
        if count > LARGEST:
            raise SpecError(f"a sparse layer can have {LARGEST:,} nonzeros, got {count:,}; use a lower density")
        indices = random_indices(count, size, generator) if indices is None else indices.clone()
        self.register_buffer("indices", indices)
        self.values = nn.Parameter(torch.empty(len(indices), dtype=dtype))
        self.register_parameter("bias", nn.Parameter(torch.empty(shape[0], dtype=dtype)) if bias else None)
        self._structures: dict[object, tuple[object, Structure]] = {}
        self._built_from: tuple[Tensor, int] | None = None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw values and bias anew, as torch does but with the inputs that each unit has on average.

        Values are uniform within ``1 / sqrt(fan_in * density)``, where ``fan_in * density`` (at least 1) is the mean
        number of nonzeros of the layer's rows; the bias is uniform within ``1 / sqrt(fan_in)``, as in torch. So
        activations keep the size that they have in a dense network. One bound serves the whole layer; the reference
        also has one for each unit.

        Reference: Evci et al., Gradient Flow in Sparse Neural Networks, AAAI 2022, https://arxiv.org/abs/2010.03533
        """
        fan_in = math.prod(self.shape[1:])
        mean = max(self.nonzeros / max(self.shape[0], 1), 1.0)
        with torch.no_grad():
            self.values.uniform_(-1 / math.sqrt(mean), 1 / math.sqrt(mean), generator=generator)
            if self.bias is not None:
                bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
                self.bias.uniform_(-bound, bound, generator=generator)

    @property
    def nonzeros(self) -> int:
        """Number of weights that are there."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """Nonzeros divided by the size of the dense weight; 1 if that has no elements."""
        size = math.prod(self.shape)
        return self.nonzeros / size if size else 1.0

    @property
    def sparsity(self) -> float:
        """1 - density."""
        return 1 - self.density

    def mask(self) -> Tensor:
        """Return where the nonzeros are: bool, of the dense shape (which it allocates)."""
        found = torch.zeros(math.prod(self.shape), dtype=torch.bool)
        found[self.indices] = True
        return found.reshape(self.shape)

    def weight(self) -> Tensor:
        """Return the dense weight, 0 where there is no nonzero; a copy, without gradient."""
        found = torch.zeros(math.prod(self.shape), dtype=self.values.dtype)
        found[self.indices] = self.values.detach()
        return found.reshape(self.shape)

    @classmethod
    def from_dense(cls, layer: Dense, mask: Tensor | None = None) -> Self:
        """Return a sparse copy of a dense layer: its weights where ``mask`` (bool, the weight's shape) is True.

        Without a mask these are the weights other than 0. Values and bias keep their bits and dtype. Called on
        :class:`SparseLayer` the kind of layer decides; on a subclass the layer must be of that kind.

        Raises :class:`SpecError` for another kind of layer, a wrong mask, a padding mode other than zeros, a dtype
        other than float32 and float64, or a device other than the CPU.
        """
        for dense, sparse in _KINDS.items():
            if isinstance(layer, dense) and issubclass(sparse, cls):
                return sparse._copied(layer, mask)
        kinds = " or ".join(f"nn.{dense.__name__}" for dense, sparse in _KINDS.items() if issubclass(sparse, cls))
        raise SpecError(f"layer must be an {kinds}, got {type(layer).__name__}")

    @classmethod
    def _copied(cls, layer: Any, mask: Tensor | None) -> Self:
        weight = layer.weight.detach()
        if weight.device.type != "cpu":
            raise SpecError(f"layer must be on the CPU, got one on {weight.device}; move it with .cpu()")
        if mask is None:
            mask = weight != 0
        elif mask.dtype != torch.bool or mask.shape != weight.shape:
            raise SpecError(
                f"mask must be a bool tensor of shape {tuple(weight.shape)}, got {mask.dtype} of {tuple(mask.shape)}"
            )
        indices = mask.reshape(-1).nonzero().reshape(-1).to(weight.device)
        # a generator of its own: values are overwritten, and the global one must not notice
        make: Any = cls
        made: Self = make(
            *cls._arguments(layer),
            bias=layer.bias is not None,
            indices=indices,
            generator=torch.Generator(),
            dtype=weight.dtype,
        )
        made.values.data = weight.reshape(-1)[indices]
        made.values.requires_grad_(layer.weight.requires_grad)
        if layer.bias is not None and made.bias is not None:
            made.bias.data = layer.bias.detach().clone()
            made.bias.requires_grad_(layer.bias.requires_grad)
        return made.train(layer.training)

    @staticmethod
    def _arguments(layer: Any) -> tuple[Any, ...]:
        """Return what the dense layer was made with, up to its bias, in the order of this class's arguments."""
        raise NotImplementedError

    def to_dense(self) -> Any:
        """Return the dense layer (nn.Linear, nn.Conv1d or nn.Conv2d) with this weight, +0.0 where there is no nonzero.

        Values and bias are copies and keep their bits; so do ``requires_grad`` and ``training``.
        """
        dense = next(dense for dense, sparse in _KINDS.items() if isinstance(self, sparse))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that there is nothing to draw for a weight of no elements
            made: Any = dense(*self._arguments(self), bias=self.bias is not None, device="meta")
        made.weight = nn.Parameter(self.weight(), requires_grad=self.values.requires_grad)
        if self.bias is not None:
            made.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=self.bias.requires_grad)
        return made.train(self.training)

    def replace_nonzeros(self, indices: Tensor, values: Tensor) -> None:
        """Give the layer other nonzeros: flat ``indices`` (int64, ascending) and as many ``values``, which it keeps.

        The parameter stays the same object, its gradient becomes None. Of the state of optimisers this knows nothing:
        :mod:`overparam.sparse.topology` carries it along.
        """
        check_indices(indices, math.prod(self.shape))
        if values.shape != indices.shape or values.dtype != self.values.dtype:
            raise SpecError(
                f"values must be {self.values.dtype} of shape {tuple(indices.shape)} like indices, "
                f"got {values.dtype} of {tuple(values.shape)}"
            )
        self.values.grad = None
        self.values.data = values.detach().contiguous()
        self.indices = indices
        self._outdate()  # at once, so that a backward under way notices

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's output; shapes as those of the dense layer."""
        raise NotImplementedError

    def forward_last(self, tiles: Tensor, order: Indices | None = None) -> Tensor:
        """Return the output, batch-last and in tiles, of batch-last tiles: (tiles, *positions, features, width).

        Between sparse layers this spares the way back to batch-first (:mod:`overparam.sparse.layout`). ``order`` is
        for linear layers whose input's features come in another order than the weight's columns: for each column the
        row of the input that holds it. Pass the same array each time, as lists are made for it once.
        """
        raise NotImplementedError

    def check_inputs(self, inputs: Tensor, name: str) -> None:
        """Raise :class:`SpecError` unless ``inputs`` are numbers that the layer can compute with."""
        values = self.values
        if values.dtype not in DTYPES or values.device.type != "cpu":
            raise SpecError(
                f"a sparse layer computes in float32 or float64 on the CPU, but this one is in {values.dtype} "
                f"on {values.device}; convert it, or its to_dense()"
            )
        if inputs.dtype != values.dtype or inputs.device.type != "cpu":
            raise SpecError(
                f"{name} must be {values.dtype} on the CPU, as the layer is, got {inputs.dtype} on {inputs.device}"
            )

    def link(self, inputs: Sequence[int], order: Indices | None = None, relu: bool = False) -> Link:
        """Return what a chain needs of this layer for an input (batch, *positions, features); ``inputs`` has no batch.

        Raises :class:`SpecError` if the layer does not take such inputs.
        """
        raise NotImplementedError

    def _structure(self, key: object, held: object) -> Structure:
        """Return the lists for ``key``, built if they are new or the indices are; ``held`` is kept alive with them."""
        indices = self.indices
        version = 0 if indices.is_inference() else indices._version
        if self._built_from is None or self._built_from[0] is not indices or self._built_from[1] != version:
            self._outdate()
            self._built_from = (indices, version)
        found = self._structures.get(key)
        if found is None:
            if len(self._structures) == KEPT_STRUCTURES:
                _, oldest = self._structures.pop(next(iter(self._structures)))
                forget_chains(oldest)
            found = self._structures[key] = (held, self._build(key, held))
        return found[1]

    def _outdate(self) -> None:
        """Drop all lists: they are those of other nonzeros."""
        for _, old in self._structures.values():
            old.current = False
            forget_chains(old)
        self._structures.clear()

    def _build(self, key: Any, held: Any) -> Structure:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_structures": {}, "_built_from": None}

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        indices, values = state_dict.get(f"{prefix}indices"), state_dict.get(f"{prefix}values")
        if isinstance(indices, Tensor) and isinstance(values, Tensor):
            try:
                check_indices(indices, math.prod(self.shape))
                if values.shape != indices.shape:
                    raise SpecError(f"values must be of shape {tuple(indices.shape)}, got {tuple(values.shape)}")
            except SpecError as error:
                error_msgs.append(f"{prefix}indices and {prefix}values do not fit {self}: {error}")
                return
            if len(indices) != self.nonzeros:
                self.replace_nonzeros(indices.clone(), torch.empty(len(indices), dtype=self.values.dtype))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class SparseLinear(SparseLayer):
    """A linear layer with a sparse weight of shape (out_features, in_features).

    Args:
        in_features, out_features: sizes, 0 or more.
        bias: whether there is one.
        density: share in [0, 1] of the weights that are there, in a random structure of exactly ``density`` times
            size (read as decimals, halves up) nonzeros, all equally likely; nothing of dense size is allocated.
        indices: instead, the flat indices of the nonzeros: int64, ascending.
        generator: what draws structure and values; torch's global one by default.
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
        dtype: torch.dtype | None = None,
    ) -> None:
        if min(in_features, out_features) < 0:
            raise SpecError(f"in_features and out_features must be 0 or more, got {in_features} and {out_features}")
        super().__init__((out_features, in_features), bias, density, indices, generator, dtype)

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

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (*, out_features) of inputs (*, in_features) with any leading dimensions."""
        self.check_inputs(inputs, "inputs")
        if not inputs.dim() or inputs.shape[-1] != self.in_features:
            raise SpecError(f"inputs must be of shape (*, {self.in_features}), got {tuple(inputs.shape)}")
        leading = inputs.shape[:-1]
        batch = inputs.reshape(math.prod(leading), self.in_features)
        outputs = sparse_chain(batch, [self.link((self.in_features,))], FIRST)
        return outputs.reshape(*leading, self.out_features)

    def forward_last(self, tiles: Tensor, order: Indices | None = None) -> Tensor:
        """Return (tiles, out_features, width) of tiles (tiles, in_features, width); see :class:`SparseLayer`."""
        self.check_inputs(tiles, "tiles")
        if tiles.dim() != 3 or tiles.shape[1] != self.in_features:
            raise SpecError(f"tiles must be of shape (tiles, {self.in_features}, width), got {tuple(tiles.shape)}")
        return sparse_chain(tiles, [self.link(tiles.shape[1:-1], order)])

    def link(self, inputs: Sequence[int], order: Indices | None = None, relu: bool = False) -> Link:
        """Return what a chain needs of this layer; see :class:`SparseLayer`."""
        if tuple(inputs) != (self.in_features,):
            raise SpecError(f"inputs must have {self.in_features} features, got {tuple(inputs)}")
        if order is not None and order.shape != (self.in_features,):
            raise SpecError(f"order must be of shape ({self.in_features},), got {order.shape}")
        return Link(self._structure(None if order is None else id(order), order), self.values, self.bias, relu)

    def _build(self, key: object, held: Any) -> Structure:
        return linear_structure(self.indices.numpy(), self.out_features, self.in_features, held)

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
        super().__init__((out_channels, in_channels // groups, *kernel), bias, density, indices, generator, dtype)
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

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (batch, out_channels, *positions) of inputs (batch, in_channels, *positions); no batch is fine."""
        self.check_inputs(inputs, "inputs")
        single = inputs.dim() == self.AXES + 1
        if inputs.dim() not in (self.AXES + 1, self.AXES + 2) or inputs.shape[-1 - self.AXES] != self.in_channels:
            shape = f"batch, {self.in_channels}, {self.POSITIONS}"
            raise SpecError(f"inputs must be of shape ({shape}), got {tuple(inputs.shape)}")
        batch = inputs[None] if single else inputs
        outputs = sparse_chain(batch, [self.link((*batch.shape[2:], self.in_channels))], FIRST)
        return outputs[0] if single else outputs

    def forward_last(self, tiles: Tensor, order: Indices | None = None) -> Tensor:
        """Return (tiles, *positions, out_channels, width) of (tiles, *positions, in_channels, width)."""
        self.check_inputs(tiles, "tiles")
        if tiles.dim() != self.AXES + 3 or tiles.shape[-2] != self.in_channels:
            shape = f"tiles, {self.POSITIONS}, {self.in_channels}, width"
            raise SpecError(f"tiles must be of shape ({shape}), got {tuple(tiles.shape)}")
        return sparse_chain(tiles, [self.link(tiles.shape[1:-1], order)])

    def link(self, inputs: Sequence[int], order: Indices | None = None, relu: bool = False) -> Link:
        """Return what a chain needs of this layer; see :class:`SparseLayer`."""
        if order is not None:
            raise SpecError("order is for linear layers; a convolution's input has its channels in order")
        *positions, channels = inputs
        if len(positions) != self.AXES or channels != self.in_channels:
            raise SpecError(f"inputs must be {self.POSITIONS} with {self.in_channels} channels, got {tuple(inputs)}")
        return Link(self._structure(tuple(positions), None), self.values, self.bias, relu)

    def _build(self, key: Any, held: object) -> Structure:
        return conv_structure(self.indices.numpy(), self.out_channels, self.in_channels, self.groups, self.axes(key))

    def extra_repr(self) -> str:
        """Describe the layer in its repr."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding!r}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}, "
            f"nonzeros={self.nonzeros}"
        )


class SparseConv1d(_SparseConv):
    """A convolution over one axis with a sparse weight of shape (out_channels, in_channels / groups, length).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as of nn.Conv1d; ``padding``
            may be ``'same'`` or ``'valid'``.
        padding_mode: only ``'zeros'``.
        density, indices, generator, dtype: as of :class:`SparseLinear`.

    Raises :class:`SpecError` for arguments out of these ranges. See :meth:`reset_parameters` for the values.
    """

    AXES = 1
    POSITIONS = "length"


class SparseConv2d(_SparseConv):
    """A convolution over two axes with a sparse weight of shape (out_channels, in_channels / groups, height, width).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as of nn.Conv2d; ``padding``
            may be ``'same'`` or ``'valid'``.
        padding_mode: only ``'zeros'``.
        density, indices, generator, dtype: as of :class:`SparseLinear`.

    Raises :class:`SpecError` for arguments out of these ranges. See :meth:`reset_parameters` for the values.
    """

    AXES = 2
    POSITIONS = "height, width"


_KINDS: dict[type[nn.Module], type[SparseLayer]] = {
    nn.Linear: SparseLinear,
    nn.Conv1d: SparseConv1d,
    nn.Conv2d: SparseConv2d,
}


def check_indices(indices: Tensor, size: int) -> None:
    """Raise SpecError unless ``indices`` are int64, one-dimensional, ascending without repeats and below ``size``."""
    if indices.dtype != torch.int64 or indices.dim() != 1 or indices.device.type != "cpu":
        raise SpecError(
            f"indices must be a one-dimensional int64 tensor on the CPU, got {indices.dtype} "
            f"of shape {tuple(indices.shape)} on {indices.device}"
        )
    ascending = bool((indices[1:] > indices[:-1]).all())
    if len(indices) and (not ascending or int(indices[0]) < 0 or int(indices[-1]) >= size):
        raise SpecError(f"indices must be ascending, without repeats and from 0 to below {size:,}; sort them first")
