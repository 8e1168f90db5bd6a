"""Batch-last values, and what stands between the sparse layers of a network, on them.

Each operation means what torch's means on the batch-first tensor; most are torch's own on another view of the same
memory. Where there is none for a module or a rank, torch's own computes the batch-first tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from overparam.sparse.layers.autograd import fused_layers
from overparam.sparse.layers.fused import Borders
from overparam.sparse.layers.kinds import SparseLayer
from overparam.sparse.layers.layout import transposed
from overparam.sparse.layers.tracing import uncompiled


class Tiles:
    """A batch-last value: ``data`` is (tiles, *positions, features, width), example ``tile * width + column``."""

    __slots__ = ("data",)

    def __init__(self, data: Tensor) -> None:
        self.data = data

    @property
    def rank(self) -> int:
        """Number of dimensions of the batch-first tensor."""
        return self.data.dim() - 1


Value = Tiles | Tensor


def to_first(value: Value) -> Tensor:
    """Return a batch-first tensor (batch, features, *positions)."""
    return value if isinstance(value, Tensor) else transposed(value.data)


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
        if isinstance(value, Tiles):
            data, shape = value.data, tuple(value.data.shape[1:-1])
        else:
            data, shape = value, (*value.shape[2:], value.shape[1])
        links = []
        for layer, relu in zip(layers, self.relus, strict=True):
            links.append(layer.link(shape, relu))
            shape = links[-1].structure.output
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
        widths = {value.data.shape[-1] if isinstance(value, Tiles) else None for value in values}
        if len(widths) == 1 and None not in widths:
            return Tiles(self.function(*(value.data for value in values)))
        return self.function(*map(to_first, values))


class BatchFirst(nn.Module):
    """A value as the network returns it."""

    def forward(self, value: Value) -> Tensor:
        """Return a batch-first tensor."""
        return to_first(value)


def _elementwise(module: Any, tiles: Tiles) -> Tiles:
    return Tiles(module(tiles.data))


def _batch_norm(module: Any, tiles: Tiles) -> Tiles:
    """Apply a batch norm: its statistics are over tiles, positions and columns."""
    view = tiles.data.flatten(0, -3)
    out = module(view[..., None] if isinstance(module, nn.BatchNorm2d) else view)
    return Tiles(out.reshape(tiles.data.shape))


def _pool(module: Any, tiles: Tiles) -> Tiles | None:
    """Pool channels and columns of a tile as the channels of torch's channels-last format, without a copy."""
    if getattr(module, "return_indices", False):
        return None
    *_, channels, width = tiles.data.shape
    out = module(tiles.data.flatten(-2).movedim(-1, 1))
    return Tiles(out.movedim(1, -1).unflatten(-1, (channels, width)))


def _flatten(module: Any, tiles: Tiles) -> Tiles | None:
    """Return (batch, features) of (batch, channels, *positions); features come channel by channel."""
    if module.start_dim != 1 or module.end_dim not in (-1, tiles.rank - 1):
        return None
    return tiles if tiles.rank == 2 else Tiles(tiles.data.flatten(1, -3).transpose(1, 2).flatten(1, 2))


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
