"""Random structures: which weights of a layer, and how many in each layer, at a cost of order of the nonzeros."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from overparam.errors import SpecError
from overparam.prune.counts import exact, exact_count
from overparam.prune.scopes import ERK, Counted


def random_indices(count: int, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Return ``count`` different numbers below ``size``, sorted, int64; each such set is equally likely.

    Memory is of order ``count`` however large ``size`` is. Without a generator torch's global one draws.

    Raises :class:`SpecError` unless ``0 <= count <= size``.
    """
    if not 0 <= count <= size:
        raise SpecError(f"count must be between 0 and size={size:,}, got {count:,}")
    if 2 * count > size:
        return torch.randperm(size, generator=generator, device="cpu")[:count].sort().values
    found = torch.empty(0, dtype=torch.int64, device="cpu")
    while len(found) < count:
        missing = count - len(found)
        drawn = torch.randint(size, (missing + missing // 8 + 8,), generator=generator, device="cpu")
        found = torch.unique(torch.cat([found, drawn]))  # sorted
    if len(found) == count:
        return found
    # all numbers are treated alike, so a random part of a random set is uniform as well
    chosen = torch.randperm(len(found), generator=generator, device="cpu")[:count]
    return found[chosen.sort().values]


def checked_density(density: float | Fraction) -> Fraction:
    """Return ``density`` as the fraction that its decimal form stands for; SpecError unless it is in [0, 1]."""
    found = exact(density, "density")
    if not 0 <= found <= 1:
        raise SpecError(f"density must be between 0 and 1, got {density!r}")
    return found


def erdos_renyi_kernel(shapes: Mapping[str, Sequence[int]], density: float | Fraction) -> dict[str, Fraction]:
    """Return the density of each layer under the Erdos-Renyi-Kernel rule, so that ``density`` of all weights is there.

    ``shapes`` are those of the dense weights, (outputs, inputs, *kernel). A layer's density is proportional to
    (outputs + inputs + kernel sides) / size and at most 1; the sum of all nonzeros is exact. Fractions are exact: as
    the ``density`` of a sparse layer each gives just the number of nonzeros meant. It is the rule of pruning's scope
    ``erk``; for linear layers it is the Erdos-Renyi rule.

    Reference: Evci et al., ICML 2020, https://arxiv.org/abs/1911.11134; Mocanu et al., 2018,
    https://arxiv.org/abs/1707.04780 (Erdos-Renyi)

    Raises :class:`SpecError` if ``density`` is not in [0, 1].

    >>> erdos_renyi_kernel({"hidden": (90, 10), "output": (5, 5)}, Fraction(110, 925))
    {'hidden': Fraction(1, 9), 'output': Fraction(2, 5)}
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    keep = exact_count(checked_density(density), sum(sizes.values()))
    tensors = [
        Counted(name, "conv" if len(shape) > 2 else "linear", tuple(shape), alive=sizes[name], least=0)
        for name, shape in shapes.items()
    ]
    counts = ERK().quotas(tensors, keep)
    return {name: Fraction(counts[name], size) if size else Fraction() for name, size in sizes.items()}
