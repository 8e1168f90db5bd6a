"""From a network's name to the factory it means, and from there to a module."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from overparam.errors import SpecError
from overparam.networks.architecture import Architecture, Factory, Form, option_parameters
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


def make(factory: Factory, label: str, form: Form, options: Mapping[str, Any]) -> nn.Module:
    """Call the factory and return its module, which must be a new one.

    It is given ``input_shape``, ``outputs``, ``classes`` and ``vocabulary`` if it has parameters of these names, and
    the options. Errors in it, other results than modules, and modules that share parts with an earlier one raise
    :class:`SpecError`.
    """
    check_options(factory, label, options)
    try:
        module = factory(**_given(factory, form), **options)
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(f"network {label!r} cannot be made for {form}: {first_line(error)}") from error
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


def _given(factory: Factory, form: Form) -> dict[str, Any]:
    if isinstance(factory, Architecture):
        return form._asdict()
    try:
        known = inspect.signature(factory).parameters
    except ValueError:  # a callable written in C
        return {}
    return {name: value for name, value in form.given().items() if name in known}


def check_output(module: nn.Module, label: str, form: Form) -> None:
    """Raise :class:`SpecError` unless two inputs of zeros give outputs of the form's shape."""
    output = run(module, form.zeros(2), f"network {label!r}")
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else None
    wanted = (2, *form.outputs)
    if shape != wanted:
        given = f"of shape {shape}" if shape is not None else f"of type {type(output).__name__}"
        advice = (
            "one score per class: let its last layer have `classes` outputs"
            if len(form.outputs) == 1
            else "which its factory gets as `outputs`, without the batch"
        )
        raise SpecError(
            f"network {label!r} gives an output {given} for two inputs of shape {form.input_shape}; {wanted} is "
            f"needed, {advice}"
        )


def fails_on_one(module: nn.Module, form: Form) -> str | None:
    """Return why ``module`` cannot be trained on a batch of one example, as batch norm often cannot; None if it can.

    The module is run in training mode, so it is one to be thrown away.
    """
    with torch.no_grad(), global_stream(0, "look"):
        try:
            output = module.train()(form.zeros(1))
        except Exception as error:  # noqa: BLE001  (the user's own code may raise anything)
            return first_line(error)
    shape, wanted = tuple(output.shape) if isinstance(output, torch.Tensor) else None, (1, *form.outputs)
    return None if shape == wanted else f"its output has the shape {shape} instead of {wanted}"


def check_state(module: nn.Module, label: str) -> None:
    """Raise :class:`SpecError` if the module's state dict holds anything but tensors, which checkpoints could not."""
    for name, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise SpecError(
                f"network {label!r}: {name!r} of its state dict is of type {type(value).__name__}, and a checkpoint "
                "holds tensors only; let get_extra_state return a tensor, such as torch.tensor([...])"
            )
