"""What a converted network does when it is called: a list of steps on batch-last tiles.

A :class:`Step` is an operation on batch-last tiles (:mod:`overparam.sparse.batch_last`) or, where there is none,
torch's own on the batch-first tensor. What a step gets as tiles goes through a transposition only where it needs a
batch-first tensor. Plans are made by :mod:`overparam.sparse.planner`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from overparam.sparse.batch_last import Tiles, to_first


class Host(Protocol):
    """What steps run in: modules and tensors by their paths."""

    def part(self, path: str) -> nn.Module:
        """Return the submodule at ``path``."""

    def tensor(self, path: str) -> Any:
        """Return the parameter, buffer or constant at ``path``; a parameter under its mask."""


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
class Named(Ref):
    """A parameter (under its mask), buffer or constant."""

    path: str

    def get(self, values: list[Any], host: Host) -> Any:
        """Return it."""
        return host.tensor(self.path)


@dataclass(frozen=True)
class Step:
    """One operation: ``values[out] = function(*args, **kwargs)``, after which the slots in ``drops`` are not needed."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: int
    drops: tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """An argument of the module's forward."""

    name: str
    slot: int
    default: tuple[Any, ...]  # empty if there is none


@dataclass(frozen=True)
class Plan:
    """The steps of one mode (training or evaluation), and what they could not do batch-last."""

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    output: Any
    slots: int
    fallbacks: tuple[str, ...]

    def run(self, host: Host, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return what the module returns, batch-first."""
        values: list[Any] = [None] * self.slots
        self._bind(values, args, kwargs)
        for step in self.steps:
            given = [_filled(arg, values, host) for arg in step.args]
            named = {name: _filled(arg, values, host) for name, arg in step.kwargs.items()}
            values[step.out] = step.function(*given, **named)
            for slot in step.drops:
                values[slot] = None
        return map_tiles(_filled(self.output, values, host))

    def _bind(self, values: list[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        names = [each.name for each in self.inputs]
        wrong = [name for name in kwargs if name not in names[len(args) :]]
        if len(args) > len(names) or wrong:
            raise TypeError(f"the network takes {', '.join(names)}; got {len(args)} of them and {', '.join(kwargs)}")
        for number, each in enumerate(self.inputs):
            if number < len(args):
                values[each.slot] = args[number]
            elif each.name in kwargs:
                values[each.slot] = kwargs[each.name]
            elif each.default:
                values[each.slot] = each.default[0]
            else:
                raise TypeError(f"the network needs its argument {each.name!r}")


def _filled(arg: Any, values: list[Any], host: Host) -> Any:
    """Return an argument with its references followed."""
    if isinstance(arg, Ref):
        return arg.get(values, host)
    return arg if isinstance(arg, PLAIN) else mapped(arg, lambda each: _filled(each, values, host))


PLAIN = (int, float, str, bool, type(None))


def mapped(arg: Any, function: Callable[[Any], Any]) -> Any:
    """Return a tuple, list, dict or slice with ``function`` of its elements; anything else as it is."""
    if isinstance(arg, tuple):
        items = [function(each) for each in arg]
        return type(arg)(*items) if hasattr(arg, "_fields") else tuple(items)
    if isinstance(arg, list):
        return [function(each) for each in arg]
    if isinstance(arg, dict):
        return {name: function(each) for name, each in arg.items()}
    if isinstance(arg, slice):
        return slice(function(arg.start), function(arg.stop), function(arg.step))
    return arg


def map_tiles(arg: Any) -> Any:
    """Return an argument with all tiles in it batch-first."""
    return to_first(arg) if isinstance(arg, Tiles) else mapped(arg, map_tiles)


# what steps call; functions of modules so that a network can be pickled


def call_first(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call torch's own operation on batch-first tensors."""
    return function(*map_tiles(args), **map_tiles(kwargs))


def call_masked(module: nn.Module, weights: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """Call a module with some of its parameters under masks."""
    return torch.func.functional_call(module, weights, map_tiles(args), map_tiles(kwargs))


def same(value: Any) -> Any:
    """Return the value."""
    return value


@dataclass(frozen=True)
class Method:
    """Calls the method of this name of its first argument."""

    name: str

    def __call__(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return getattr(value, self.name)(*args, **kwargs)


class Function:
    """A function of torch by its name: some of these functions cannot be pickled themselves."""

    def __init__(self, place: str, name: str) -> None:
        self.place, self.name = place, name
        self.function = getattr(_PLACES[place], name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self.place, self.name)


_PLACES: dict[str, ModuleType] = {"F": F, "torch": torch, "operator": operator}
PLACE_OF = {  # later ones win: functions of several modules go by the name in the first
    value: (place, name)
    for place in reversed(_PLACES)
    for name, value in vars(_PLACES[place]).items()
    if callable(value) and not isinstance(value, type) and not name.startswith("__")
}
