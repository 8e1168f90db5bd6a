"""State outside the state dict, such as a counter in a plain attribute: found, and proven harmless or not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from overparam.checkpoint import load_state, state_of
from overparam.networks.identity import held_digest, kept_outside
from overparam.streams import global_stream
from overparam.train.losses import Loss

LOSS = "the loss"


def held(module: nn.Module, loss: Loss) -> dict[str, str]:
    """Return a digest of each thing that a module and a loss keep outside the state dict, by name."""
    return {**kept_outside(module), LOSS: held_digest(loss)}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names of what differs, sorted."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


@dataclass(frozen=True)
class Effect:
    """What state outside the state dict does: whether outputs in evaluation or anything in training depend on it."""

    evaluation: bool
    training: bool


NO_EFFECT = Effect(evaluation=False, training=False)


def effect(
    running: nn.Module,
    names: Sequence[str],
    state: Mapping[str, Tensor],
    fresh: Callable[[], nn.Module],
    inputs: Tensor,
) -> Effect:
    """Return the effect of what ``running`` keeps under ``names``, tried on one batch.

    Two new modules get the same weights, one of them what ``running`` keeps as well. If both compute the same, and keep
    the same afterwards, then what was kept is forgotten at each call, as an activation that is held to be looked at.
    What cannot be handed to another module is taken to have an effect in training.
    """

    strange: set[str] = set()  # what cannot be handed over

    def module(with_kept: bool) -> nn.Module:
        made = fresh()
        load_state(made, state)
        for name in names if with_kept else ():
            try:
                _hand_over(running, made, name)
            except Exception:  # noqa: BLE001  (a class, a hook, the loss, or what cannot be copied)
                strange.add(name)
        return made

    try:
        without, with_kept = (_outcome(module(kept), inputs, training=False)[0] for kept in (False, True))
        one, other = (_outcome(module(kept), inputs, training=True) for kept in (False, True))
    except Exception:  # noqa: BLE001  (the user's own forward may raise anything, such as on a single example)
        return Effect(evaluation=False, training=True)
    same = not strange and _equal(one[0], other[0]) and one[1:] == other[1:]
    return Effect(evaluation=not _equal(without, with_kept), training=not same)


def _hand_over(source: nn.Module, to: nn.Module, name: str) -> None:
    """Copy what ``source`` keeps under a dotted name to the same place in ``to``."""
    path, _, leaf = name.rpartition(".")
    giver, taker = source.get_submodule(path), to.get_submodule(path)
    kept = giver._buffers if leaf in giver._non_persistent_buffers_set else vars(giver)
    value: Any = kept[leaf]  # a class or the loss is not there: KeyError
    value = value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
    (taker._buffers if leaf in giver._non_persistent_buffers_set else vars(taker))[leaf] = value


def _outcome(module: nn.Module, inputs: Tensor, training: bool) -> tuple[Tensor, dict[str, str], str]:
    """Return the outputs, and digests of what the module keeps and of its state after the call."""
    module.train(training)
    with global_stream(0, "look"), torch.set_grad_enabled(training):
        outputs = module(inputs).detach()
    return outputs, kept_outside(module), held_digest(state_of(module))


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all())
