"""Batch-last values, and what stands between the sparse layers of a network, on them.

Each operation means what torch's means on the batch-first tensor; most are torch's own on another view of the same
memory. Where there is none for a module or a rank, torch's own computes the batch-first tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor, nn

from overparam.sparse.kernels.structure import Indices
from overparam.sparse.layers.autograd import fused_layers
from overparam.sparse.layers.fused import Borders
from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.layers.layout import to_batch_first, to_batch_last
from overparam.sparse.layers.tracing import uncompiled


class Tiles:
    """A batch-last value.

    Attributes:
        data: (tiles, *positions, features, width); example ``tile * width + column`` of the batch.
        channels: None if ``features`` are in their usual order; else they are those of a flattened image of so many
            channels and come position by position, where torch has channel by channel. Only with no positions left.
    """

    __slots__ = ("channels", "data")

    def __init__(self, data: Tensor, channels: int | None = None) -> None:
        self.data = data
        self.channels = channels

    @property
    def rank(self) -> int:
        """Number of dimensions of the batch-first tensor."""
        return self.data.dim() - 1


Value = Tiles | Tensor


def to_first(value: Value) -> Tensor:
    """Return tiles as a batch-first tensor (batch, features, *positions), features in their usual order."""
    if isinstance(value, Tensor):
        return value
    if value.channels is None:
        return to_batch_first(value.data)
    return to_batch_first(_by_position(value)).flatten(1)


def _by_position(tiles: Tiles) -> Tensor:
    """Return (tiles, positions, channels, width) of a flattened image."""
    found: Tensor = tiles.data.unflatten(1, (-1, tiles.channels))  # type: ignore[no-untyped-call]
    return found


def _natural(tiles: Tiles) -> Tensor:
    """Return the data with features in their usual order."""
    return tiles.data if tiles.channels is None else _by_position(tiles).transpose(1, 2).flatten(1, 2)


@cache
def _flattened_order(channels: int, features: int) -> Indices:
    """Return for each column of a weight the row that holds it after flattening, one array for each argument."""
    return np.arange(features).reshape(-1, channels).T.ravel()


class FusedLayers(nn.Module):
    """Sparse layers one after another, with a ReLU after some of them, as one operation of autograd.

    ``first`` tells whether it returns a batch-first tensor. Inputs that are not (batch, features, *positions), such as
    (batch, length, features) of linear layers, go through one layer after the other.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer])
        self.relus = [False]
        self.first = False

    @uncompiled
    def forward(self, value: Value) -> Value:
        """Return what the layers make of it."""
        layers: Sequence[SparseLayer] = list(self.layers)  # type: ignore[arg-type]
        if (value.rank if isinstance(value, Tiles) else value.dim()) != len(layers[0].shape):
            return self._each(layers, to_first(value))
        order = None
        if isinstance(value, Tiles):
            data, shape = value.data, tuple(value.data.shape[1:-1])
            if value.channels is not None:
                order = _flattened_order(value.channels, shape[0])
        else:
            data, shape = value, (*value.shape[2:], value.shape[1])
        links = []
        for layer, relu in zip(layers, self.relus, strict=True):
            links.append(layer.link(shape, order, relu))
            shape, order = links[-1].structure.output, None
        out = fused_layers(data, links, Borders(isinstance(value, Tensor), self.first))
        return out if self.first else Tiles(out)

    def _each(self, layers: Sequence[SparseLayer], value: Tensor) -> Tensor:
        for layer, relu in zip(layers, self.relus, strict=True):
            value = layer(value)
            value = value.relu() if relu else value
        return value


class OnTiles(nn.Module):
    """A module of torch's, on tiles where it can be (:data:`NATIVE`)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, value: Value) -> Value:
        """Return what the module makes of it."""
        if isinstance(value, Tiles):
            native, ranks = NATIVE.get(type(self.module), (None, ()))
            found = native(self.module, value) if native is not None and (not ranks or value.rank in ranks) else None
            if found is not None:
                return found
        out: Tensor = self.module(to_first(value))
        return out


class Elementwise(nn.Module):
    """An elementwise function of one or more arguments of one shape."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: Value) -> Value:
        """Return what the function makes of them."""
        tiles = [value for value in values if isinstance(value, Tiles)]
        if not tiles:
            return self.function(*values)
        channels, width = tiles[0].channels, tiles[0].data.shape[-1]
        if len(tiles) == len(values) and all(
            (each.channels, each.data.shape[-1]) == (channels, width) for each in tiles
        ):
            return Tiles(self.function(*(each.data for each in tiles)), channels)

        def ready(value: Value) -> Tensor:
            if isinstance(value, Tiles) and value.data.shape[-1] == width:
                return _natural(value)
            return to_batch_last(to_first(value), width)

        return Tiles(self.function(*map(ready, values)))


class BatchFirst(nn.Module):
    """A value as the network returns it."""

    def forward(self, value: Value) -> Tensor:
        """Return a batch-first tensor."""
        return to_first(value)


def _elementwise(module: Any, tiles: Tiles) -> Tiles:
    return Tiles(module(tiles.data), tiles.channels)


def _batch_norm(module: Any, tiles: Tiles) -> Tiles:
    """Apply a batch norm: its statistics are over tiles, positions and columns."""
    data = _natural(tiles)
    view = data.flatten(0, -3)
    out = module(view[..., None] if isinstance(module, nn.BatchNorm2d) else view)
    return Tiles(out.reshape(data.shape))


def _pool(module: Any, tiles: Tiles) -> Tiles | None:
    """Pool (batch, channels, *positions).

    Channels and columns of a tile together are the channels of a batch-first tensor in torch's channels-last format,
    which torch pools as it is, without a copy.
    """
    if getattr(module, "return_indices", False):
        return None
    *_, channels, width = tiles.data.shape
    out = module(tiles.data.flatten(-2).movedim(-1, 1))
    return Tiles(out.movedim(1, -1).unflatten(-1, (channels, width)))


def _flatten(module: Any, tiles: Tiles) -> Tiles | None:
    """Return (batch, features) of (batch, channels, *positions), without a copy."""
    if module.start_dim != 1 or module.end_dim not in (-1, tiles.rank - 1):
        return None
    if tiles.rank == 2:
        return tiles
    channels = tiles.data.shape[-2]
    data = tiles.data.flatten(1, -2)
    return Tiles(data, channels if 1 < channels < data.shape[1] else None)


Native = Callable[[Any, Tiles], Tiles | None]  # None: not with these settings
NATIVE: dict[type[nn.Module], tuple[Native, tuple[int, ...]]] = {
    **dict.fromkeys(
        (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus),
        (_elementwise, ()),
    ),
    **dict.fromkeys((nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d), (_pool, (3,))),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d), (_pool, (4,))),
    nn.BatchNorm1d: (_batch_norm, (2, 3)),
    nn.BatchNorm2d: (_batch_norm, (4,)),
    nn.Flatten: (_flatten, ()),
}
"""What is computed on tiles, of which ranks (of any, if none is named): what the built-in networks consist of."""
