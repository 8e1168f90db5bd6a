"""The checkpoint: weights, masks and lineage, the only thing that steps hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from overparam.length import START, Length


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights and masks of a network at one moment; immutable once made.

    Attributes:
        state: the module's own ``state_dict()``, parameters and buffers, on the CPU; a tensor that several layers
            share is there once, under its first name.
        masks: for each weight tensor that can be pruned, a bool tensor of its shape; True means kept. A dense
            network has masks of ones. Where a mask is False the weight is exactly ``+0.0``.
        roles: role of each parameter (``output``, ``linear``, ``conv``, ``bias``, ``norm``, ...).
        position: where in its schedule the next training starts: 0 except after rewinding to a later point.
        counters: how often each kind of step came before, e.g. ``{"prune": 3}``; names the streams of randomness.
    """

    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    roles: Mapping[str, str]
    position: Length = START
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def weights(self) -> int:
        """Number of weights that carry a mask."""
        return sum(mask.numel() for mask in self.masks.values())

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
        """Return this checkpoint with ``masks``; weights outside them are set to exactly ``+0.0``."""
        return replace(self, masks=dict(masks), state=masked_state(self.state, masks))

    def with_state(self, state: Mapping[str, Tensor]) -> Checkpoint:
        """Return this checkpoint with other weights under the same masks."""
        return replace(self, state=masked_state(state, self.masks))

    def load_into(self, module: nn.Module) -> nn.Module:
        """Copy the weights into ``module`` (made by the same network) and return it."""
        load_state(module, self.state)
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
