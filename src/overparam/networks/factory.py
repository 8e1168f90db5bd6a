"""From a network's name to the factory it means, and from there to a module."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from overparam.errors import SpecError
from overparam.networks.architecture import GIVEN, Factory, option_parameters
from overparam.networks.forward import first_line, run
from overparam.streams import global_stream

_made: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # parts with tensors of every module made so far


def check_options(factory: Factory, label: str, options: Mapping[str, Any]) -> None:
    """Raise :class:`SpecError` if the factory does not know an option or requires one that is missing."""
    try:
        option_parameters(factory, label, options)
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        # a callable without a signature, such as one written in C: its call will tell


def make(
    factory: Factory, label: str, input_shape: tuple[int, ...], classes: int, options: Mapping[str, Any]
) -> nn.Module:
    """Call the factory and return its module, which must be a new one.

    It is given ``input_shape`` and ``classes`` if it has parameters of these names, and the options. Errors
    in it, other results than modules, and modules that share parts with an earlier one raise
    :class:`SpecError`.
    """
    check_options(factory, label, options)
    world = {"input_shape": input_shape, "classes": classes}
    try:
        accepted = [name for name in GIVEN if name in inspect.signature(factory).parameters]
    except ValueError:
        accepted = []
    try:
        module = factory(**{name: world[name] for name in accepted}, **options)
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(
            f"network {label!r} cannot be made for inputs of shape {input_shape} and {classes} classes: "
            f"{first_line(error)}"
        ) from error
    if not isinstance(module, nn.Module):
        raise SpecError(f"network {label!r}: its factory must return a torch.nn.Module, got {module!r}")
    parts = [part for part in module.modules() if part._parameters or part._buffers]
    if any(part in _made for part in parts):
        raise SpecError(
            f"network {label!r}: its factory returned a module, or a part of one, that it returned before; "
            "it must construct a new one at each call, else runs would train each other's weights"
        )
    _made.update(parts)
    return module


def check_output(module: nn.Module, label: str, input_shape: tuple[int, ...], classes: int) -> None:
    """Raise :class:`SpecError` unless zeros of shape ``(2, *input_shape)`` give an output ``(2, classes)``."""
    output = run(module, torch.zeros(2, *input_shape, dtype=torch.float32), f"network {label!r}")
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else None
    if shape != (2, classes):
        given = f"of shape {shape}" if shape is not None else f"of type {type(output).__name__}"
        raise SpecError(
            f"network {label!r} gives an output {given} for two inputs of shape {input_shape}; "
            f"(2, {classes}) is needed, one score per class: let its last layer have `classes` outputs"
        )


def fails_on_one(module: nn.Module, input_shape: tuple[int, ...], classes: int) -> str | None:
    """Return why ``module`` cannot be trained on a batch of one example, as batch norm often cannot; None if it can.

    The module is run in training mode, so it is one to be thrown away.
    """
    with torch.no_grad(), global_stream(0, "look"):
        try:
            output = module.train()(torch.zeros(1, *input_shape, dtype=torch.float32))
        except Exception as error:  # noqa: BLE001  (the user's own code may raise anything)
            return first_line(error)
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else None
    return None if shape == (1, classes) else f"its output has the shape {shape} instead of (1, {classes})"


def check_state(module: nn.Module, label: str) -> None:
    """Raise :class:`SpecError` if the module's state dict holds anything but tensors, which checkpoints could not."""
    for name, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise SpecError(
                f"network {label!r}: {name!r} of its state dict is of type {type(value).__name__}, and a checkpoint "
                "holds tensors only; let get_extra_state return a tensor, such as torch.tensor([...])"
            )


def check_world(input_shape: tuple[int, ...], classes: int) -> None:
    """Raise :class:`SpecError` unless there are sizes, all >= 1, and at least one class."""
    if not input_shape or any(not isinstance(side, int) or side < 1 for side in input_shape):
        raise SpecError(f"input_shape: needs sizes >= 1, as in (1, 28, 28), got {input_shape}")
    if not isinstance(classes, int) or classes < 1:
        raise SpecError(f"classes: needs a whole number >= 1, got {classes!r}")
