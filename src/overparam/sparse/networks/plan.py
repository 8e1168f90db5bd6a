"""What a network that is computed as a whole does when it is called: a list of steps on batch-last tiles.

A :class:`Step` is an operation on batch-last tiles or, where there is none, torch's own on the batch-first tensor. What
a step gets as tiles goes through a transposition only where it needs a batch-first tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from overparam.sparse.networks.batch_last import Tiles, to_first


class Host(Protocol):
    """What steps run in: modules by their paths."""

    def part(self, path: str) -> nn.Module:
        """Return the submodule at ``path``."""


class Ref:
    """Stands in a step's arguments for what is known only when it runs."""

    def get(self, values: list[Any], host: Host) -> Any:
        """Return it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Value(Ref):
    """The result of the step that writes to ``slot``."""

    slot: int

    def get(self, values: list[Any], host: Host) -> Any:
        """Return it."""
        return values[self.slot]


@dataclass(frozen=True)
class Part(Ref):
    """A submodule."""

    path: str

    def get(self, values: list[Any], host: Host) -> Any:
        """Return it."""
        return host.part(self.path)


@dataclass(frozen=True)
class Step:
    """One operation: ``values[out] = function(*args)``, after which the slots in ``drops`` are not needed."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    out: int
    drops: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The steps from one batch-first tensor to another, and what they could not do batch-last."""

    steps: tuple[Step, ...]
    output: Value
    slots: int
    fallbacks: tuple[str, ...]

    def run(self, host: Host, inputs: Tensor) -> Any:
        """Return what the module returns, batch-first."""
        values: list[Any] = [None] * self.slots
        values[0] = inputs
        for step in self.steps:
            values[step.out] = step.function(*[_filled(arg, values, host) for arg in step.args])
            for slot in step.drops:
                values[slot] = None
        return batch_first(values[self.output.slot])


def _filled(arg: Any, values: list[Any], host: Host) -> Any:
    """Return an argument with its references followed."""
    if isinstance(arg, Ref):
        return arg.get(values, host)
    return tuple([_filled(each, values, host) for each in arg]) if isinstance(arg, tuple) else arg


def batch_first(value: Any) -> Any:
    """Return tiles as a batch-first tensor, anything else as it is."""
    return to_first(value) if isinstance(value, Tiles) else value


def call_first(function: Callable[..., Any], *args: Any) -> Any:
    """Call torch's own operation on batch-first tensors."""
    return function(*map(batch_first, args))
