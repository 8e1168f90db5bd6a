"""Pruning a module: masks for it, and zeros in it. No hooks, no renamed keys: masks live beside the model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from overparam.errors import SpecError
from overparam.networks import prunable, tensor_roles
from overparam.prune.criteria import Criterion, criterion_named
from overparam.prune.evidence import Evidence, Loss, gradients
from overparam.prune.masks import Masks, check_masks
from overparam.prune.rounds import Counting, new_masks
from overparam.prune.scopes import Scope
from overparam.registry import suggest


def dense_masks(module: nn.Module, sample: Tensor | None = None) -> dict[str, Tensor]:
    """Return masks of ones for the weights of ``module`` that can be pruned: linear, convolution, output.

    Args:
        module: any network.
        sample: one input batch, which helps to find the output layer (see
            :func:`overparam.networks.tensor_roles`).
    """
    weights = dict(module.named_parameters())
    names = prunable(tensor_roles(module, sample))
    if not names:
        raise SpecError("the module has no linear or convolution weights that could be pruned")
    return {name: torch.ones_like(weights[name], dtype=torch.bool) for name in names}


def prune(
    module: nn.Module,
    criterion: str | Criterion = "magnitude",
    *,
    fraction: float | None = None,
    density: float | None = None,
    scope: str | Scope = "global",
    exclude: str | Iterable[str] = (),
    counting: Counting = "prunable",
    allow_empty: bool = False,
    masks: Masks | None = None,
    batch: tuple[Tensor, Tensor] | None = None,
    loss: Loss = cross_entropy,
    sample: Tensor | None = None,
    seed: int = 0,
    draw: int = 0,
) -> dict[str, Tensor]:
    """Return the masks of one round of pruning; the module is not changed (see :func:`apply_masks`).

    >>> net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 5))
    >>> masks = prune(net, "magnitude", density=0.1)
    >>> sum(int(mask.sum()) for mask in masks.values())  # of 250
    25
    >>> apply_masks(net, masks)

    Args:
        module: any network.
        criterion: ``magnitude``, ``gradient``, ``random``, or an object such as ``Magnitude()``.
        fraction, density, scope, exclude, counting, allow_empty: see :func:`overparam.prune.new_masks`.
        masks: those of the round before; None means that all weights are alive.
        batch: ``(inputs, labels)``, for criteria that need gradients; taken in train mode at the module's
            weights.
        loss: ``(outputs, labels) -> number``, for the same.
        sample: one input batch, which helps to find the output layer.
        seed, draw: of the randomness; give each round its own ``draw``, e.g. the number of rounds before it.

    Raises:
        SpecError: a wrong argument, a missing batch, or scores that are not finite.
    """
    criterion = criterion_named(criterion)
    masks = dense_masks(module, sample) if masks is None else masks
    weights = _parameters_of(module, masks)
    slopes = None
    if "gradients" in criterion.needs:
        if batch is None:
            raise SpecError(f"criterion {type(criterion).__name__} needs gradients; give batch=(inputs, labels)")
        slopes = gradients(module, batch, loss, names=masks, seed=seed, draw=draw)
    seen = Evidence({name: weight.detach() for name, weight in weights.items()}, slopes, seed, draw)
    return new_masks(
        criterion(seen),
        masks,
        tensor_roles(module, sample),
        fraction=fraction,
        density=density,
        scope=scope,
        exclude=exclude,
        counting=counting,
        allow_empty=allow_empty,
    )


def apply_masks(module: nn.Module, masks: Masks) -> None:
    """Set every weight outside its mask to exactly ``+0.0``, in place; all else stays bit for bit."""
    weights = _parameters_of(module, masks)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.masked_fill_(~masks[name].to(weight.device), 0.0)


def _parameters_of(module: nn.Module, masks: Masks) -> dict[str, nn.Parameter]:
    """Return the parameters that ``masks`` are for; raises :class:`SpecError` where they disagree."""
    check_masks(masks)
    known = dict(module.named_parameters())
    for name, mask in masks.items():
        if name not in known:
            raise SpecError(f"masks name {name!r}, which the module lacks{suggest(name, known)}")
        if mask.shape != known[name].shape:
            raise SpecError(f"mask of {name!r} has shape {tuple(mask.shape)}, its parameter {tuple(known[name].shape)}")
    return {name: known[name] for name in masks}
