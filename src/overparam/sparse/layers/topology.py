"""Changing which weights of a sparse layer are there, while it is trained: drop some, grow others.

Costs are of order of the layer's nonzeros (and, for what grows, of sorting it): sorted lists are merged, nothing of
dense size is made. Values that stay keep their bits, and what an optimiser remembers of them goes with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from overparam.errors import SpecError
from overparam.sparse.layers.kinds import SparseLayer

Averages = Sequence[SparseLayer] | None


def drop(layer: SparseLayer, places: Tensor, optimizer: Optimizer | None = None, averages: Averages = None) -> None:
    """Remove nonzeros; see :func:`rewire`."""
    rewire(layer, places, places.new_empty(0, dtype=torch.int64), optimizer=optimizer, averages=averages)


def grow(
    layer: SparseLayer,
    indices: Tensor,
    values: float | Tensor = 0.0,
    optimizer: Optimizer | None = None,
    averages: Averages = None,
) -> None:
    """Add nonzeros; see :func:`rewire`."""
    rewire(layer, indices.new_empty(0, dtype=torch.int64), indices, values, optimizer, averages)


def rewire(
    layer: SparseLayer,
    drop: Tensor,
    grow: Tensor,
    values: float | Tensor = 0.0,
    optimizer: Optimizer | None = None,
    averages: Averages = None,
) -> None:
    """Remove nonzeros of a layer, then add others, and carry an optimiser's state and averages along.

    Args:
        layer: is changed; its parameter ``values`` stays the same object, its gradient becomes None.
        drop: positions in ``layer.values`` of the nonzeros to remove, int64, without repeats, in any order.
        grow: flat indices into the dense weight of those to add, int64, without repeats, in any order. None of them
            may be there, but just dropped ones are not: they begin anew.
        values: of the added ones: one number, or a tensor with one for each, in the order of ``grow``.
        optimizer: what trains the layer. What it keeps for each value (momentum, exp_avg, ...) follows the nonzeros,
            and is 0 for added ones; what it keeps for the whole tensor, such as the number of steps, stays.
        averages: layers with the same nonzeros that are averages of this one (EMA, SWA): they are rewired alike. With
            other nonzeros than the layer they could not be averaged further, and a loop over parameters would not
            notice. So if copies of the layer are still there, this must be given; empty for copies that are only kept.

    Raises:
        SpecError: positions or indices of another form, out of range, repeated or already there; values of another
            shape; an optimiser that does not train ``layer.values`` or keeps what cannot be carried (LBFGS); copies
            with the same nonzeros and no ``averages``, or averages with others. Nothing has changed then.
    """
    layer.check_nonzeros()
    count, size = layer.nonzeros, math.prod(layer.shape)
    _check(drop, "drop", count)
    _check(grow, "grow", size)
    stays = torch.ones(count, dtype=torch.bool, device="cpu")
    stays[drop] = False
    kept = layer.indices[stays]
    added, by_index = grow.sort()
    before = torch.searchsorted(kept, added)  # how many of the kept come before each added one
    if len(kept) and bool((kept[before.clamp(max=len(kept) - 1)] == added).any()):
        raise SpecError("grow must name weights that are not there, but some of its indices are among layer.indices")
    if len(torch.unique(drop)) < len(drop) or bool((added[1:] == added[:-1]).any()):
        raise SpecError("drop and grow must have no repeats; use torch.unique()")
    if isinstance(values, Tensor) and values.shape != grow.shape:
        raise SpecError(f"values must be one number or of shape {tuple(grow.shape)}, got {tuple(values.shape)}")
    fresh = values.detach()[by_index] if isinstance(values, Tensor) else values
    is_new = torch.zeros(len(kept) + len(added), dtype=torch.bool, device="cpu")
    is_new[before + torch.arange(len(added), device="cpu")] = True

    def merged(old: Tensor, new: Tensor | float) -> Tensor:
        found = old.new_empty(len(is_new))
        found[~is_new] = old.reshape(-1)[stays]
        found[is_new] = new.to(old.dtype) if isinstance(new, Tensor) else old.new_tensor(new)
        return found

    followers = _followers(layer, averages)
    state = _state(layer, optimizer)
    carried = {name: merged(held, 0.0).view(1, 1, -1) for name, held in state.items()}
    indices = merged(layer.indices, added)
    for each in (layer, *followers):
        each.replace_nonzeros(indices, merged(each.values.detach(), fresh))
    if optimizer is not None and carried:
        optimizer.state[layer.values].update(carried)


def _followers(layer: SparseLayer, averages: Averages) -> Sequence[SparseLayer]:
    """Return the layers that are to be rewired alike, checked."""
    if averages is None and layer.copies():
        raise SpecError(
            "layer has copies with the same nonzeros (by copy.deepcopy, as of AveragedModel), which could not be "
            "averaged with it any more: give those to rewire alike as averages=[...], or averages=[] if none is one"
        )
    for each in averages or ():
        if not isinstance(each, SparseLayer) or each is layer or not torch.equal(each.indices, layer.indices):
            raise SpecError(f"averages must be copies of layer with its nonzeros, got {each}; make the average anew")
        each.check_nonzeros()
    return averages or ()


def _check(numbers: Tensor, name: str, size: int) -> None:
    if numbers.dtype != torch.int64 or numbers.dim() != 1:
        raise SpecError(
            f"{name} must be a one-dimensional int64 tensor, got {numbers.dtype} of shape {tuple(numbers.shape)}"
        )
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < size:
        raise SpecError(
            f"{name} must be from 0 to below {size:,}, got {int(numbers.min()):,} to {int(numbers.max()):,}"
        )


def _state(layer: SparseLayer, optimizer: Optimizer | None) -> dict[str, Tensor]:
    """Return what the optimiser keeps for each value of the layer."""
    if optimizer is None:
        return {}
    if not any(layer.values is parameter for group in optimizer.param_groups for parameter in group["params"]):
        raise SpecError("optimizer must train layer.values; give the one that does, or none")
    found = {}
    for name, held in optimizer.state.get(layer.values, {}).items():
        if isinstance(held, Tensor) and held.shape == layer.values.shape:
            found[name] = held
        elif isinstance(held, list) or (isinstance(held, Tensor) and held.numel() > 1):
            raise SpecError(
                f"optimizer {type(optimizer).__name__} keeps {name!r}, which has no entry for each value and cannot "
                f"follow the nonzeros; use one such as SGD or Adam"
            )
    return found
