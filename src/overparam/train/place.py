"""Where a training computes, and in which numbers: a module goes there, and comes back as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from overparam.errors import SpecError, suggest
from overparam.worlds import WorldData

Precision = Literal["float32", "bfloat16", "float64"]

DEVICES = ("cpu", "auto", "cuda", "cuda:N", "mps")


def check_device(given: object) -> str:
    """Return ``given`` if it can name a device; raises :class:`SpecError` if not. Whether it is there is not asked."""
    if not isinstance(given, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", given):
        raise SpecError(f"device must be one of {', '.join(DEVICES)}, got {given!r}{suggest(str(given), DEVICES)}")
    return given


def device_named(given: str) -> torch.device:
    """Return the device that ``given`` means; ``auto`` is a CUDA card if there is one, else the CPU.

    Raises :class:`SpecError` for a device that this machine, or this build of torch, does not have.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = torch.device(("cuda" if cards else "cpu") if check_device(given) == "auto" else given)
    if found.type == "cuda" and (found.index or 0) >= cards:
        raise SpecError(
            f"device {given!r}: torch {torch.__version__} finds {cards} CUDA devices here; take cpu or auto"
        )
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise SpecError(f"device {given!r}: torch {torch.__version__} finds no MPS here; take cpu or auto")
    return found


class Place:
    """A device and a precision for one training of one module.

    ``float32`` is torch's usual arithmetic. ``bfloat16`` computes forward and backward passes under autocast: weights,
    optimiser and loss stay in float32. ``float64`` is double precision throughout. Results come back on the CPU, in the
    types that the module had.

    Args:
        module: is moved now; :meth:`give_back` moves it back.
        device: None leaves it where it is.
        precision: see above.

    Raises:
        SpecError: double precision on a device that has none.
    """

    def __init__(self, module: nn.Module, device: torch.device | None, precision: Precision) -> None:
        self.module, self.precision, self.to = module, precision, device
        self.before = {name: (t.device, t.dtype) for name, t in _tensors(module).items()}
        if device is not None and device.type == "mps" and precision == "float64":
            raise SpecError("precision float64: MPS has none; take device cpu, or float32")
        self.dtype = torch.float64 if precision == "float64" else None
        if device is not None or self.dtype is not None:
            for tensor in _tensors(module).values():
                tensor.data = self.moved(tensor.data)

    def __str__(self) -> str:
        return self.precision + ("" if self.to is None else f" on {self.to}")

    @property
    def plain(self) -> bool:
        """Whether everything is as it would be without a place."""
        return self.precision == "float32" and (self.to is None or self.to.type == "cpu")

    def moved(self, tensor: Tensor) -> Tensor:
        """Return a tensor as it is needed here."""
        dtype = self.dtype if tensor.is_floating_point() else None
        return tensor.to(device=self.to, dtype=dtype)

    def loss(self, loss: Any) -> Any:
        """Return a loss here: one that is a module may have weights of its own."""
        if isinstance(loss, nn.Module) and (self.to is not None or self.dtype is not None):
            return loss.to(device=self.to, dtype=self.dtype)
        return loss

    def data(self, data: WorldData) -> WorldData:
        """Return the data here; inputs of whole numbers, such as tokens, stay whole."""
        return data if self.to is None and self.dtype is None else data.to(self.to or "cpu", self.dtype)

    def under(self, thing: Any) -> Any:
        """Return a frozen object, such as a constraint, with its tensors here."""
        return _with_tensors(thing, {name: self.moved(tensor) for name, tensor in _fields(thing).items()})

    def home(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state dict in the types that the module had."""
        return {n: t.to(self.before[n][1]) if n in self.before else t for n, t in state.items()}

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for a forward pass."""
        if self.precision != "bfloat16":
            return contextlib.nullcontext()
        kind = next((device.type for device, _ in self.before.values()), "cpu") if self.to is None else self.to.type
        return torch.autocast(kind, torch.bfloat16)

    def give_back(self) -> None:
        """Move the module to where it was."""
        for name, tensor in _tensors(self.module).items():
            if name in self.before:
                device, dtype = self.before[name]
                tensor.data = tensor.data.to(device, dtype)


def on_cpu(thing: Any, like: Any = None) -> Any:
    """Return a frozen object, such as a constraint, with its tensors on the CPU, in the types of those of ``like``."""
    types = {} if like is None else {name: tensor.dtype for name, tensor in _fields(like).items()}
    return _with_tensors(thing, {name: tensor.to("cpu", types.get(name)) for name, tensor in _fields(thing).items()})


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _fields(thing: Any) -> dict[str, Tensor]:
    values = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _with_tensors(thing: Any, tensors: Mapping[str, Tensor]) -> Any:
    return dataclasses.replace(cast(Any, thing), **tensors) if tensors else thing
