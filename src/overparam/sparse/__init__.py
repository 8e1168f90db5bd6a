"""Truly sparse layers: what training and inference cost falls with density.

Names are loaded when they are first used: the kernels' compiler takes a while to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overparam.sparse.layers.kinds import SparseConv1d, SparseConv2d, SparseLayer, SparseLinear
    from overparam.sparse.layers.topology import drop, grow, rewire
    from overparam.sparse.networks.conversion import convert, replace_layers
    from overparam.sparse.networks.network import SparseNetwork

# no module may have the name of a function here: importing it would put it in the function's place
_HOMES = {
    "layers.kinds": ("SparseConv1d", "SparseConv2d", "SparseLayer", "SparseLinear"),
    "layers.topology": ("drop", "grow", "rewire"),
    "networks.conversion": ("convert", "replace_layers"),
    "networks.network": ("SparseNetwork",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "SparseConv1d",
    "SparseConv2d",
    "SparseLayer",
    "SparseLinear",
    "SparseNetwork",
    "convert",
    "drop",
    "grow",
    "replace_layers",
    "rewire",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"overparam.sparse.{_HOME[name]}"), name)
    raise AttributeError(f"module 'overparam.sparse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
