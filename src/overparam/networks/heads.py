"""Attention heads, as groups of the units of their projections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from overparam.networks.units import Group, Place


def heads_of(found: Sequence[Group]) -> list[Group]:
    """Return those of the groups that are attention heads: several units of one layer that several features read.

    What a residual connection or a gate binds is one unit of each layer, or read as one feature.
    """
    return [group for group in found if _several(group.outputs) and _several(group.inputs)]


def fused_heads(module: nn.Module) -> list[Group]:
    """Return the heads of torch's ``nn.MultiheadAttention``, whose projections are no layers of their own."""
    return [
        _head(path, part, head)
        for path, part in module.named_modules()
        if isinstance(part, nn.MultiheadAttention)
        for head in range(part.num_heads)
    ]


def _several(places: frozenset[Place]) -> bool:
    return max(Counter(place.name for place in places).values(), default=0) > 1


def _head(path: str, part: nn.MultiheadAttention, head: int) -> Group:
    rows = range(head * part.head_dim, (head + 1) * part.head_dim)
    fused = part.in_proj_weight is not None
    sides = [("in_proj_weight", side * part.embed_dim) for side in range(3)]
    if not fused:
        sides = [(f"{side}_proj_weight", 0) for side in "qkv"]
    outputs = frozenset(Place(path, start + row, leaf) for leaf, start in sides for row in rows)
    return Group(outputs, frozenset(Place(f"{path}.out_proj", row) for row in rows), frozenset())
