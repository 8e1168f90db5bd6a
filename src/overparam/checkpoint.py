"""The checkpoint: weights, constraints and lineage, the only thing that steps hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from overparam.constraints import Constraint, Masked, effective
from overparam.constraints.base import check_constraint
from overparam.errors import SpecError
from overparam.length import START, Length
from overparam.networks.surgery import Replace, operate
from overparam.registry import suggest


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint:
    """Weights and constraints of a network at one moment; immutable once made.

    Attributes:
        state: the module's own ``state_dict()``, parameters and buffers, on the CPU; a tensor that several layers
            share is there once, under its first name. It has the weights that the network computes with.
        constraints: how tensors of the state are made from what is trained, for each weight tensor that can be pruned
            at least a plain mask. A dense network has masks of ones. Raises :class:`SpecError` for one that does not
            fit its tensor.
        roles: role of each parameter (``output``, ``linear``, ``conv``, ``bias``, ``norm``, ...).
        surgery: the layers that stand in the place of the network's own; the state is that of the module with them.
        removed: how many parameters a surgery has taken away: those with a mask, and all. They count as pruned.
        position: where in its schedule the next training starts: 0 except after rewinding to a later point.
        counters: how often each kind of step came before, e.g. ``{"prune": 3}``; names the streams of randomness.
    """

    state: Mapping[str, Tensor]
    constraints: Mapping[str, Constraint]
    roles: Mapping[str, str]
    surgery: tuple[Replace, ...] = field(default=(), kw_only=True)
    removed: tuple[int, int] = field(default=(0, 0), kw_only=True)
    position: Length = START
    counters: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, constraint in self.constraints.items():
            if name not in self.state:
                raise SpecError(f"constraints: there is no tensor {name!r} in the state{suggest(name, self.state)}")
            check_constraint(name, constraint, self.state[name])

    def __repr__(self) -> str:
        what = f"{len(self.state)} tensors, {self.kept:,} of {self.weights:,} weights kept, level {self.level}"
        return f"Checkpoint({what}, position {self.position})"

    @cached_property
    def masks(self) -> Mapping[str, Tensor]:
        """For each weight tensor that can be pruned, a bool tensor of its shape; True means kept.

        Where a mask is False the weight is exactly ``+0.0``, unless its constraint freezes it at another value.
        """
        kept = {name: constraint.kept() for name, constraint in self.constraints.items()}
        return {name: mask for name, mask in kept.items() if mask is not None}

    @property
    def weights(self) -> int:
        """Number of weights that carry a mask, or did before a surgery took them away."""
        return sum(mask.numel() for mask in self.masks.values()) + self.removed[0]

    @property
    def kept(self) -> int:
        """Number of weights that are not pruned."""
        # NumPy counts bools a dozen times as fast as torch
        return sum(int(np.count_nonzero(mask.numpy())) for mask in self.masks.values())

    @property
    def density(self) -> float:
        """Kept share of all weights that carry a mask, in [0, 1]."""
        return self.kept / self.weights if self.weights else 1.0

    @property
    def level(self) -> int:
        """Number of pruning steps that came before; 0 is the dense network."""
        return self.count("prune")

    def count(self, kind: str) -> int:
        """Return how many steps of ``kind`` came before."""
        return self.counters.get(kind, 0)

    def counted(self, kind: str) -> Checkpoint:
        """Return this checkpoint with one more step of ``kind`` behind it."""
        return replace(self, counters={**self.counters, kind: self.count(kind) + 1})

    def masked(self, masks: Mapping[str, Tensor]) -> Checkpoint:
        """Return this checkpoint with ``masks``, each weight under the constraint that it has or else a plain mask.

        Weights outside plain masks are set to exactly ``+0.0``. Raises :class:`SpecError` for a weight whose
        constraint takes no mask.
        """
        others = {n: each for n, each in self.constraints.items() if n not in self.masks and n not in masks}
        return self._made(self.state, {**others, **{name: self._under(name, mask) for name, mask in masks.items()}})

    def _under(self, name: str, mask: Tensor) -> Constraint:
        try:
            return self.constraints[name].under(mask) if name in self.constraints else Masked(mask)
        except SpecError as error:
            raise SpecError(f"{name!r}: {error}") from None

    def constrained(self, constraints: Mapping[str, Constraint]) -> Checkpoint:
        """Return this checkpoint with other constraints on the tensors named."""
        return self._made(self.state, {**self.constraints, **constraints})

    def with_state(self, state: Mapping[str, Tensor]) -> Checkpoint:
        """Return this checkpoint with other weights under the same constraints.

        Raises :class:`SpecError` for weights of other shapes, as before a surgery.
        """
        for name, tensor in self.state.items():
            if name not in state or state[name].shape != tensor.shape:
                given = tuple(state[name].shape) if name in state else "none"
                raise SpecError(
                    f"{name!r} has the shape {tuple(tensor.shape)} here and {given} there; weights from before a "
                    "surgery, such as compact, do not fit the layers after it"
                )
        return self._made(state, {name: each.onto(state[name]) for name, each in self.constraints.items()})

    def beneath(self) -> dict[str, Tensor]:
        """Return the weights that lie under the constraints: what :meth:`with_state` would take to give the same."""
        return {
            name: self.constraints[name].beneath(tensor) if name in self.constraints else tensor
            for name, tensor in self.state.items()
        }

    def _made(self, state: Mapping[str, Tensor], constraints: Mapping[str, Constraint]) -> Checkpoint:
        made = {
            name: effective(constraints[name], tensor) if name in constraints else tensor
            for name, tensor in state.items()
        }
        return replace(self, state=made, constraints=constraints)

    def load_into(self, module: nn.Module) -> nn.Module:
        """Put surgery and weights into ``module`` (made by the same network) and return it."""
        load_state(operate(module, self.surgery), self.state)
        return module


@dataclass(frozen=True)
class Given:
    """A checkpoint that a step, a loss or a probe has named, and the network that it is of.

    Attributes:
        checkpoint: what was named.
        module: returns a new module of the checkpoint's own network, which may be another architecture than that of
            the chain, with the checkpoint's weights in it.
    """

    checkpoint: Checkpoint
    module: Callable[[], nn.Module]


def masked_state(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` with every weight outside its mask set to exactly ``+0.0`` (never ``-0.0``)."""
    return {
        name: torch.where(masks[name], tensor, torch.zeros((), dtype=tensor.dtype)) if name in masks else tensor
        for name, tensor in state.items()
    }


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of ``module``'s state dict on the CPU; a tensor with several names is there under the first."""
    tensors = module.state_dict(keep_vars=True)
    first = _first_names(tensors)
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items() if first[name] == name}


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy what :func:`state_of` returned into ``module``, made by the same network."""
    shared = {
        name: state[first]
        for name, first in _first_names(module.state_dict(keep_vars=True)).items()
        if first != name and first in state
    }
    module.load_state_dict({**state, **shared})


def _first_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return for each name the first name of the same tensor: other than its own where layers share weights."""
    seen: dict[int, str] = {}
    return {name: seen.setdefault(id(tensor), name) for name, tensor in tensors.items()}
