"""Shapes and slow, obvious forms that the tests of this room share."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from overparam.prune import CRITERIA

LENET = {"fc1.weight": (300, 784), "fc2.weight": (100, 300), "fc3.weight": (10, 100)}
LENET_ROLES = {"fc1.weight": "linear", "fc2.weight": "linear", "fc3.weight": "output"}

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "one weight": {"a": (1, 1)},
    "63 in one": {"a": (9, 7)},
    "linear": {"b": (8, 5), "a": (5, 8), "c": (3, 8)},
    "equal shapes": {"l2": (6, 6), "l10": (6, 6), "l1": (6, 6)},
    "conv and linear": {"conv": (4, 3, 3, 3), "fc": (10, 36), "out": (2, 10)},
    "with an empty one": {"a": (7, 9), "none": (0, 5), "z": (1, 1)},
    "very unequal": {"big": (40, 50), "tiny": (2, 2)},
}


def ones(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}


def normal(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def moments(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Second moments of inputs of layers of these shapes, a constant 1 among them."""
    rows = normal({name: (1, 2 * prod(shape[1:]) + 2, prod(shape[1:]) + 1) for name, shape in shapes.items()}, seed=6)
    return {name: each.mT @ each / each.shape[1] for name, each in rows.items()}


def roots(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Derivatives of six examples by weights of these shapes."""
    rows = normal({name: (6, prod(shape)) for name, shape in shapes.items()}, seed=7)
    return {name: each.double() for name, each in rows.items()}


def counts(masks: Mapping[str, Tensor]) -> dict[str, int]:
    return {name: int(mask.sum()) for name, mask in masks.items()}


def total(masks: Mapping[str, Tensor]) -> int:
    return sum(counts(masks).values())


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def keep_top_reference(
    scores: Mapping[str, Tensor], masks: Mapping[str, Tensor], keep: int, allow_empty: bool
) -> dict[str, Tensor]:
    """Sort all weights alive, keep the first; then give each emptied tensor its best in place of the weakest."""
    ranking = []  # best first
    for name in masks:
        alive = masks[name].flatten().tolist()
        values = scores[name].double().flatten().tolist()
        ranking += [(-values[i], name, i) for i in range(len(alive)) if alive[i]]
    ranking.sort()
    kept = ranking[:keep]
    if not allow_empty:
        for name in sorted({entry[1] for entry in ranking} - {entry[1] for entry in kept}):
            kept.append(next(entry for entry in ranking if entry[1] == name))
        kept.sort()
        while len(kept) > keep:
            held = [entry[1] for entry in kept]
            weakest = max(i for i in range(len(kept)) if held.count(held[i]) > 1)
            del kept[weakest]
    found = {name: torch.zeros(mask.numel(), dtype=torch.bool) for name, mask in masks.items()}
    for _, name, i in kept:
        found[name][i] = True
    return {name: flat.reshape(masks[name].shape) for name, flat in found.items()}


OF_UNITS = ("norm-scale",)
"""Criteria that score whole units only."""

OF_WEIGHTS = [name for name in CRITERIA if name not in OF_UNITS]

OF_MODULES = [name for name in OF_WEIGHTS if not hasattr(CRITERIA.get(name), "references")]
"""Those that need no other checkpoint, so that :func:`overparam.prune.prune` can ask them."""
