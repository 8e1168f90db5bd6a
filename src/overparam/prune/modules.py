"""Pruning a module: masks for it, and zeros in it. No hooks, no renamed keys: masks live beside the model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parameter import is_lazy

from overparam.errors import CoverageWarning, SpecError, TiedScoresWarning, warn
from overparam.networks import first_names, prunable, warn_of_collapse
from overparam.networks.forward import Inputs
from overparam.networks.roles import check_shapes
from overparam.prune.by_hand import checked
from overparam.prune.coverage import coverage
from overparam.prune.criteria import CRITERIA, Criterion, Scores
from overparam.prune.derivatives import Loss
from overparam.prune.evidence import Evidence, Look
from overparam.prune.masks import Masks, check_masks
from overparam.prune.rounds import Counting, densities, new_masks
from overparam.prune.scopes import Scope
from overparam.prune.selection import Named, Selection
from overparam.registry import suggest

PRUNED_BEFORE = 0.01
"""The share of exact zeros from which a tensor must have been pruned before: none are drawn or trained so often."""


def dense_masks(
    module: nn.Module, sample: Inputs | None = None, *, include: Selection = (), exclude: Selection = ()
) -> dict[str, Tensor]:
    """Return masks of ones for the weights of ``module`` that are pruned, in the order of its parameters.

    Those are the weights of linear, convolution and recurrent layers, and what ``include`` names. If parameters other
    than biases, norms and what ``include`` and ``exclude`` name get none, a :class:`CoverageWarning` says which and how
    large a share they are; :func:`coverage` lists them.

    Args:
        module: any network.
        sample: one batch of inputs, several as a tuple, or keyword arguments as a mapping, which helps to find the
            output layer (see :func:`overparam.networks.tensor_roles`).
        include: further tensors that get masks: roles such as ``"embedding"``, parameter names or patterns, parts of
            the module or parameters, or a list of these.
        exclude: tensors that need no warning, in the same forms; what is pruned by default gets a mask all the same.

    Raises:
        SpecError: nothing can be pruned; an entry that means nothing; lazy parameters, or parameters without values.
    """
    named = Named.of(module, sample)
    masks, left_out = _dense(named, named.wanted(include), named.meant(exclude, "exclude"))
    _tell(left_out)
    return masks


def prune(
    module: nn.Module,
    criterion: str | Mapping[str, Any] | Criterion = "magnitude",
    *,
    fraction: float | None = None,
    density: float | None = None,
    rounds: int = 1,
    scope: str | Mapping[str, Any] | Scope = "global",
    include: Selection = (),
    exclude: Selection = (),
    counting: Counting = "prunable",
    allow_empty: bool = False,
    masks: Masks | None = None,
    batch: tuple[Inputs, Any] | None = None,
    loss: Loss = cross_entropy,
    sample: Inputs | None = None,
    seed: int = 0,
    draw: int = 0,
) -> Pruned:
    """Return the masks of one pruning; the module is not changed (see :func:`apply_masks`).

    >>> net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 5))
    >>> masks = prune(net, "magnitude", density=0.2)
    >>> sum(int(mask.sum()) for mask in masks.values())  # of 250
    50
    >>> apply_masks(net, masks)

    An optimiser moves weights away from zero again: :func:`hold` keeps them there in a training loop of one's own.
    A further round is told of the one before with ``masks=masks``.

    Warns with :class:`CoverageWarning` of parameters that get no masks (see :func:`dense_masks`), with
    :class:`TiedScoresWarning` where more than a few scores are equal and their position decides which stay, and with
    :class:`LayerCollapseWarning` of layers that this round leaves with fewer weights than outputs or inputs (see
    :func:`overparam.networks.collapsed_layers`).

    Args:
        module: any network.
        criterion: ``magnitude``, ``gradient``, ``obd``, ``synflow``, ``random``, ..., or one's own: a path, an object,
            a function.
        rounds: in so many the ``density`` is reached, each keeping the same share of what is left; the criterion is
            asked anew each time, on a copy of the module that is pruned so far.
        fraction, density, scope, counting, allow_empty: see :func:`overparam.prune.new_masks`.
        include: further tensors to prune than linear, convolution and recurrent weights: roles such as ``"embedding"``,
            parameter names or patterns, parts of the module or parameters, or a list of these.
        exclude: tensors that stay as they are, in the same forms.
        masks: those of the round before, by any names that ``state_dict`` lists; None means that all weights are alive,
            which is refused where many are exactly zero.
        batch: ``(inputs, labels)``, for criteria that need gradients; taken in train mode at the module's weights.
            The inputs are one tensor, several as a tuple, or keyword arguments as a mapping.
        loss: ``(outputs, labels) -> number``, for the same.
        sample: one batch of inputs in the same forms, which helps to find the output layer.
        seed, draw: of the randomness; give each round its own ``draw``, e.g. the number of rounds before it.

    Returns:
        The masks by the first name of each tensor, as ``named_parameters`` lists it, and the new values of what stays,
        if the criterion gives some (see :class:`Pruned`).

    Raises:
        SpecError: a wrong argument, a missing batch, or scores that are not finite.
    """
    criterion = CRITERIA.resolve(criterion)
    named = Named.of(module, sample)
    check_finite(module)
    wanted, spared = named.wanted(include), named.meant(exclude, "exclude")
    left_out = ""
    if masks is None:
        masks, left_out = _dense(named, wanted, spared)
        _check_unpruned(module, [name for name in prunable(named.roles) if name not in spared])
    else:
        masks = by_first_names(module, masks)
        masks = {**masks, **_ones(module, wanted - set(masks))}
    looked = copy.deepcopy(module) if rounds > 1 else module
    batches = None if batch is None else lambda: checked(looked, batch, loss)
    look = Look(lambda: looked, batches, sample=None if sample is None else lambda: sample)
    found, ties = Pruned(masks, {}), list[str]()
    for share in densities(density, rounds, masks, spared, counting):
        ties.clear()  # those of the last round decide which weights there are
        if rounds > 1:
            apply_masks(looked, found)
        alive = {name: mask for name, mask in found.items() if name not in spared} or found
        weights = {name: weight.detach() for name, weight in parameters_under(looked, alive).items()}
        scores = Scores.of(criterion(Evidence(weights, seed=seed, draw=draw, masks=alive, look=look)))
        kept = new_masks(
            scores.each(),
            found,
            named.uses,
            names=named.names,
            fraction=fraction,
            density=share,
            scope=scope,
            exclude=spared,
            counting=counting,
            allow_empty=allow_empty,
            tell=ties.append,
        )
        found = found.then(kept, scores.weights(kept, weights))
    _tell(left_out)
    _tell(scores.note)
    for sentence in ties:
        warn(sentence, TiedScoresWarning)
    warn_of_collapse(found, named.roles, before=masks)
    return found


class Pruned(dict[str, Tensor]):
    """Masks by name, with the new values that a criterion such as Optimal Brain Surgeon gives to what stays.

    Attributes:
        weights: whole tensors by name, zero outside the masks; empty for most criteria, which move nothing.
    """

    def __init__(self, masks: Masks, weights: Mapping[str, Tensor]) -> None:
        super().__init__(masks)
        self.weights = weights

    def copy(self) -> Pruned:
        """Return the same masks with the same new values; the tensors are shared."""
        return Pruned(self, self.weights)

    def then(self, masks: Masks, weights: Mapping[str, Tensor]) -> Pruned:
        """Return what a further round makes of this: its masks, and the newest value of whatever was moved."""
        before = {name: moved.masked_fill(~masks[name].to(moved.device), 0) for name, moved in self.weights.items()}
        return Pruned(masks, {**before, **weights})


def apply_masks(module: nn.Module, masks: Masks) -> None:
    """Set every weight outside its mask to exactly ``+0.0``, in place; all else stays bit for bit.

    Masks that :func:`prune` returned bring the new values that the criterion gave to what stays, if it gave any.
    ``masks`` may use any of the names that ``state_dict`` lists for a tensor. Raises :class:`SpecError` where they do
    not fit the module. An optimiser moves the weights again unless :func:`overparam.prune.hold` keeps it from that.
    """
    moved = masks.weights if isinstance(masks, Pruned) else {}
    masks = by_first_names(module, masks)
    with torch.no_grad():
        for name, weight in parameters_under(module, masks).items():
            if name in moved:
                weight.copy_(moved[name])
            weight.masked_fill_(~masks[name].to(weight.device), 0.0)


def check_finite(module: nn.Module) -> None:
    """Raise :class:`SpecError` if a parameter, one that is not pruned too, is NaN or infinite somewhere."""
    for name, parameter in module.named_parameters():
        broken = 0 if is_lazy(parameter) or parameter.is_meta else int((~parameter.detach().isfinite()).sum())
        if broken:
            raise SpecError(
                f"the module's {name!r} is not finite in {broken:,} of {parameter.numel():,} places; look for a "
                "training that diverged, or weights that were loaded wrongly"
            )


def by_first_names(module: nn.Module, masks: Masks) -> dict[str, Tensor]:
    """Return ``masks`` by the first names of their tensors; raises :class:`SpecError` where they disagree."""
    check_masks(masks)
    names = first_names(module)
    found: dict[str, Tensor] = {}
    for name, mask in masks.items():
        if name not in names:
            raise SpecError(f"masks name {name!r}, which the module lacks{suggest(name, names)}")
        if names[name] in found and not torch.equal(found[names[name]], mask):
            raise SpecError(f"masks of {name!r} and {names[name]!r} differ, but they are one tensor; give one of them")
        found[names[name]] = mask
    return found


def parameters_under(module: nn.Module, masks: Masks) -> dict[str, nn.Parameter]:
    """Return the parameters that ``masks``, by first names, are for; raises :class:`SpecError` where they disagree."""
    check_shapes(module)
    known = dict(module.named_parameters())
    for name, mask in masks.items():
        if mask.shape != known[name].shape:
            raise SpecError(f"mask of {name!r} has shape {tuple(mask.shape)}, its parameter {tuple(known[name].shape)}")
        if known[name].is_meta:
            raise SpecError(f"the module's {name!r} is on the meta device and has no values; load its weights first")
    return {name: known[name] for name in masks}


def _dense(named: Named, wanted: set[str], spared: set[str]) -> tuple[dict[str, Tensor], str]:
    """Return masks of ones for what is pruned by default or ``wanted``, and a sentence on the rest but ``spared``."""
    masks = _ones(named.module, wanted.union(prunable(named.roles)))
    told = coverage(named.module, masks).without(spared).sentence()
    if not masks:
        nothing = "the module has no linear, convolution or recurrent weights that could be pruned"
        raise SpecError("; ".join(filter(None, [nothing, told])))
    return masks, told


def _tell(left_out: str) -> None:
    if left_out:
        warn(left_out, CoverageWarning)


def _ones(module: nn.Module, names: set[str]) -> dict[str, Tensor]:
    """Return masks of ones, in the order of the parameters."""
    masks = {
        name: torch.ones_like(parameter, dtype=torch.bool)
        for name, parameter in module.named_parameters()
        if name in names
    }
    parameters_under(module, masks)
    return masks


def _check_unpruned(module: nn.Module, names: Iterable[str]) -> None:
    """Raise :class:`SpecError` if weights are exactly zero as after pruning; a tensor of zeros is an initialisation."""
    for name, weight in parameters_under(module, {name: module.get_parameter(name) for name in names}).items():
        zeros = weight.numel() - int(weight.detach().count_nonzero())
        if PRUNED_BEFORE * weight.numel() < zeros < weight.numel():
            raise SpecError(
                f"{zeros:,} of {weight.numel():,} weights of {name!r} are exactly zero, as after pruning, but masks is "
                "None, which means that all are alive; give masks=, those of the round before, or "
                "masks=dense_masks(module) if the zeros are alive"
            )
