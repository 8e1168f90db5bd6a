"""Looking at a module by running it, without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError
from overparam.streams import global_stream

Inputs = Any
"""What a module is called with: one tensor, several as a tuple or list, or named ones as a mapping."""

LAYERS = (nn.Linear, _ConvNd)
"""Layers whose weights are pruned, and whose multiply-adds are counted."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer while a module ran: its arguments and what it returned."""

    layer: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any


def arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the keyword arguments that ``inputs`` stands for.

    A plain tuple or list holds several arguments, a mapping keyword arguments; anything else is the only argument, so
    ``(things,)`` hands over a tuple or list itself.
    """
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if type(inputs) in (tuple, list) else ((inputs,), {})


def tensors_in(thing: Any) -> list[Tensor]:
    """Return the tensors in ``thing``, looking into tuples, lists and mappings, in order."""
    if isinstance(thing, Tensor):
        return [thing]
    if isinstance(thing, Mapping):
        thing = tuple(thing.values())
    return [tensor for part in thing for tensor in tensors_in(part)] if isinstance(thing, tuple | list) else []


def described(inputs: Inputs) -> str:
    """Return shapes and dtypes of a batch of inputs in words."""
    found = [f"shape {tuple(tensor.shape)} and dtype {tensor.dtype}" for tensor in tensors_in(inputs)]
    return ", ".join(found) or f"type {type(inputs).__name__}"


def run(module: nn.Module, batch: Inputs, label: str = "the module", training: bool = False) -> Any:
    """Return what ``module`` gives for ``batch``, in evaluation mode and without gradients; leave it as it was.

    ``batch`` is one tensor, several as a tuple, or keyword arguments as a mapping. Training flags, buffers and the
    global generators are put back, what a forward keeps in plain attributes is not: give it a module that is looked at
    only. ``training`` runs it in that mode instead. A module that fails on the batch raises :class:`SpecError`;
    ``label`` names it.
    """
    with _undisturbed(module, training):
        try:
            positional, named = arguments(_moved(batch, _device(module)))
            return module(*positional, **named)
        except Exception as error:
            raise SpecError(f"{label} fails on a batch of {described(batch)}: {first_line(error)}") from error


def record(module: nn.Module, batch: Inputs, kinds: tuple[type[nn.Module], ...] = LAYERS) -> tuple[Any, list[Call]]:
    """Run as :func:`run` does; return the output and the calls of submodules of these ``kinds``, in order."""
    calls: list[Call] = []

    def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls.append(Call(layer, args, kwargs, output))

    handles = [
        layer.register_forward_hook(note, with_kwargs=True) for layer in module.modules() if isinstance(layer, kinds)
    ]
    try:
        return run(module, batch), calls
    finally:
        for handle in handles:
            handle.remove()


def first_line(error: Exception) -> str:
    """Return the kind of an error and the first line of its message; torch's go on with C++ frames."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@contextmanager
def _undisturbed(module: nn.Module, training: bool = False) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers() if not is_lazy(buffer)}
    with torch.no_grad(), global_stream(0, "look"):
        module.train(training)
        try:
            yield
        finally:
            for part, mode in modes:
                part.training = mode
            for name, buffer in module.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])


def _device(module: nn.Module) -> torch.device:
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    """Return ``inputs`` on a device, wherever there are tensors in it."""
    if isinstance(inputs, Mapping):
        return {name: _moved(part, device) for name, part in inputs.items()}
    if type(inputs) in (tuple, list):
        return type(inputs)(_moved(part, device) for part in inputs)
    return inputs.to(device) if hasattr(inputs, "to") else inputs
