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

LAYERS = (nn.Linear, _ConvNd)
"""Layers whose weights are pruned, and whose multiply-adds are counted."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer while a module ran: its arguments and what it returned."""

    layer: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any


def run(module: nn.Module, batch: Tensor, label: str = "the module") -> Any:
    """Return ``module(batch)`` in evaluation mode and without gradients, and leave the module as it was.

    Training flags, buffers and the global generators are put back, what a forward keeps in plain attributes is not:
    give it a module that is looked at only. A module that fails on the batch raises :class:`SpecError`; ``label``
    names it.
    """
    with _undisturbed(module):
        try:
            return module(batch.to(_device(module)))
        except Exception as error:
            raise SpecError(
                f"{label} fails on a batch of shape {tuple(batch.shape)} and dtype {batch.dtype}: {first_line(error)}"
            ) from error


def record(module: nn.Module, batch: Tensor, kinds: tuple[type[nn.Module], ...] = LAYERS) -> tuple[Any, list[Call]]:
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
def _undisturbed(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers() if not is_lazy(buffer)}
    with torch.no_grad(), global_stream(0, "look"):
        module.eval()
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
