"""State outside the state dict, such as a counter in a plain attribute: found, and proven harmless or not."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from overparam.checkpoint import load_state, state_of
from overparam.identity import held_digest, kept_outside
from overparam.networks.forward import run
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

    Two new modules get the same weights, one of them copies of what ``running`` keeps as well. If both compute the
    same, and keep the same afterwards, then what was kept is forgotten at each call, as an activation that is held to
    be looked at. What cannot be copied, such as a class, a hook, a loss or a function that holds values, is taken to
    have an effect in training; nothing is run then, which could change it.
    """
    try:
        copies = {name: _copy(running, name) for name in names}

        def outcomes(training: bool) -> list[tuple[Tensor, dict[str, str], str]]:
            return [_outcome(_made(fresh, state, kept), inputs, training) for kept in ({}, copies)]

        evaluation, training = outcomes(training=False), outcomes(training=True)
    except Exception:  # noqa: BLE001  (a copy or a call of the user's own things may raise anything)
        return Effect(evaluation=False, training=True)
    same = [_equal(one[0], other[0]) for one, other in (evaluation, training)]
    return Effect(evaluation=not same[0], training=not same[1] or training[0][1:] != training[1][1:])


def is_its_weights(
    running: nn.Module, state: Mapping[str, Tensor], fresh: Callable[[], nn.Module], inputs: Tensor
) -> bool:
    """Tell whether a trained module computes in evaluation, to rounding, what a new one with its weights does."""
    new = _made(fresh, state, {})
    outputs, expected = (run(module, fitting(inputs, module)).float().cpu() for module in (running, new))
    return bool(torch.allclose(outputs, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()), equal_nan=True))


def _copy(module: nn.Module, name: str) -> bytes:
    """Return what a module keeps under a dotted name; pickled, as a copy of a function would share what it holds."""
    path, _, leaf = name.rpartition(".")
    return pickle.dumps(_place(module.get_submodule(path), leaf)[leaf])  # a class or the loss is not there: KeyError


def _place(part: nn.Module, leaf: str) -> dict[str, Any]:
    return part._buffers if leaf in part._non_persistent_buffers_set else vars(part)


def _made(fresh: Callable[[], nn.Module], state: Mapping[str, Tensor], kept: Mapping[str, bytes]) -> nn.Module:
    module = fresh()
    load_state(module, state)
    for name, value in kept.items():
        path, _, leaf = name.rpartition(".")
        part = module.get_submodule(path)
        _place(part, leaf)[leaf] = pickle.loads(value)
    return module


def _outcome(module: nn.Module, inputs: Tensor, training: bool) -> tuple[Tensor, dict[str, str], str]:
    """Return the outputs, and digests of what the module keeps and of its state after the call."""
    module.train(training)
    with global_stream(0, "look"), torch.set_grad_enabled(training):
        outputs = module(fitting(inputs, module)).detach()
    return outputs, kept_outside(module), held_digest(state_of(module))


def fitting(inputs: Tensor, module: nn.Module) -> Tensor:
    """Return inputs on the device, and if they are floating-point in the type, of a module's parameters."""
    like = next((p for p in module.parameters() if p.is_floating_point()), inputs)
    return inputs.to(like.device, like.dtype if inputs.is_floating_point() else None)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all())
