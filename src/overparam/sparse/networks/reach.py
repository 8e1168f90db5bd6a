"""What a module's own code can get hold of, found without running it.

A ``forward`` of a user's may do more than call layers: read their weights, go through ``parameters()``, hold a weight
in a list or closure. Where it may, the layers concerned must stay what they are. Followed are the methods that
``forward`` names, the functions and classes that these name, closures, defaults, and what attributes hold. Code of
torch, NumPy and the standard library is not followed: it sees what it is given.
"""

from __future__ import annotations

import contextlib
import dis
import os
import sys
import sysconfig
import warnings
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from types import BuiltinMethodType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LIBRARIES = tuple(os.path.join(os.path.dirname(str(each.__file__)), "") for each in (torch, np, os))
INSTALLED = tuple(os.path.join(sysconfig.get_path(each), "") for each in ("purelib", "platlib"))
"""Folders of torch, NumPy and Python; and of what is installed, which may lie within Python's."""
ALWAYS = ("forward", "__call__", "__getattr__", "__getattribute__", "train")
"""Methods that a training runs; others run if code names them."""
COMPILED = "compiled code"
"""Stands among the words of code that cannot be read."""
REGISTRIES = ("_parameters", "_buffers", "_modules")
_PLAIN = (str, bytes, int, float, complex, bool, type(None))


@dataclass
class Reach:
    """What the code of one module can get hold of."""

    words: set[str] = field(default_factory=set)  # names and strings that its code mentions
    modules: list[nn.Module] = field(default_factory=list)  # that it holds otherwise than as its submodules
    tensors: list[Tensor] = field(default_factory=list)  # that it holds otherwise than as its parameters
    functions: list[FunctionType] = field(default_factory=list)  # that it holds; a copy of it holds the same ones


def reach(part: nn.Module, own: Collection[int]) -> Reach:
    """Return what the code of a module can get hold of; modules with ids in ``own`` are not followed: see theirs."""
    walk = _Walk(own)
    walk.state(part)
    walk.methods(type(part))
    return walk.run()


def reach_of(value: object, own: Collection[int]) -> Reach:
    """Return what a function or another object can get hold of."""
    walk = _Walk(own)
    walk.later.append(value)
    return walk.run()


class _Walk:
    def __init__(self, own: Collection[int]) -> None:
        self.own = own
        self.found = Reach()
        self.seen: dict[int, object] = {}  # keeps what it has seen, so that no id is used twice
        self.later: list[object] = []
        self.unnamed: dict[str, list[object]] = {}  # methods that nothing has named yet

    def run(self) -> Reach:
        """Follow everything that is to be followed."""
        while self.later:
            value = self.later.pop()
            if not isinstance(value, _PLAIN) and id(value) not in self.seen:
                self.seen[id(value)] = value
                self.visit(value)
            if not self.later:
                self.later += [
                    each for name in self.unnamed.keys() & self.found.words for each in self.unnamed.pop(name)
                ]
        return self.found

    def visit(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self.found.tensors.append(value)
        elif isinstance(value, np.ndarray):
            with contextlib.suppress(TypeError, ValueError), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of arrays that are not to be written to
                self.found.tensors.append(torch.from_numpy(value))
        elif isinstance(value, nn.Module):
            self.module(value)
        elif isinstance(value, FunctionType):
            self.function(value)
        elif isinstance(value, type):
            self.kind(value)
        elif not isinstance(value, ModuleType):
            self.object(value)

    def object(self, value: Any) -> None:
        """Follow what an object of no special kind consists of."""
        self.found.words.add(type(value).__name__)
        bound = value.__self__ if isinstance(value, MethodType) else None
        if isinstance(bound, nn.Module) and _of_library(value.__func__):
            self.later += bound._parameters.values()  # it uses these, whatever becomes of the module
        if isinstance(value, dict):
            self.later += value.values()
        elif isinstance(value, list | tuple | set | frozenset | deque):
            self.later += value
        if isinstance(value, _CALLS):
            self.later += [getattr(value, name, None) for name in ("__func__", "__self__", *_PARTS)]
        self.later += getattr(value, "__dict__", {}).values()
        self.later.append(type(value))

    def module(self, module: nn.Module) -> None:
        self.found.modules.append(module)
        if id(module) not in self.own:  # it is registered nowhere, so nobody else looks at it
            self.later += module._parameters.values()
            self.later += module._modules.values()
            self.state(module)
            self.methods(type(module))

    def state(self, part: nn.Module) -> None:
        """Follow the attributes of a module."""
        self.later += [value for name, value in vars(part).items() if name not in REGISTRIES]
        self.later += part._buffers.values()

    def methods(self, kind: type[nn.Module], running: Collection[str] = ALWAYS) -> None:
        """Follow the methods of a class that are running; the others wait until something names them."""
        for each in kind.__mro__:
            if each is not nn.Module and not _of_library(each):
                for name, value in vars(each).items():
                    if name in running:
                        self.later.append(value)
                    else:
                        self.unnamed.setdefault(name, []).append(value)
        if not isinstance(kind.forward, FunctionType):
            self.found.words.add(COMPILED)

    def kind(self, kind: type) -> None:
        """Follow the methods of a class, those of a module's only where something names them."""
        self.found.words.add(kind.__name__)
        if issubclass(kind, nn.Module):
            self.methods(kind, running=())
        elif not _of_library(kind):
            self.later += vars(kind).values()
            self.later += kind.__bases__

    def function(self, function: FunctionType) -> None:
        self.found.functions.append(function)
        self.later += _held(function)
        if not _of_library(function):
            self.found.words |= _words(function.__code__)


_PARTS = ("func", "args", "keywords", "fget")  # of partials and properties
_CALLS = (MethodType, BuiltinMethodType, partial, property, staticmethod, classmethod, cached_property)


def _held(function: FunctionType) -> Iterator[object]:
    """Return what a function holds."""
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not set yet
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    if _of_library(function):
        return
    words = _words(function.__code__)
    for name in _globals(function.__code__) & function.__globals__.keys():
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            if not _of_library(value):
                yield from (vars(value)[each] for each in words & vars(value).keys())
        else:
            yield value


@cache
def _globals(code: CodeType) -> frozenset[str]:
    """Return the names of the globals that code uses."""
    found = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return frozenset(found).union(*(_globals(each) for each in code.co_consts if isinstance(each, CodeType)))


@cache
def _words(code: CodeType) -> frozenset[str]:
    """Return the names and strings that code mentions, those of functions within it included."""
    found = set(code.co_names)
    later = list(code.co_consts)
    while later:
        value = later.pop()
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, tuple | frozenset):
            later += value
        elif isinstance(value, CodeType):
            found |= _words(value)
    return frozenset(found)


def _of_library(value: FunctionType | type | ModuleType) -> bool:
    """Tell whether a function, class or module comes with torch, NumPy or Python."""
    if isinstance(value, FunctionType):
        return _is_library(value.__code__.co_filename)
    name = value.__name__ if isinstance(value, ModuleType) else str(value.__module__)
    file = getattr(sys.modules.get(name), "__file__", None)
    return _is_library(file) if file else name.partition(".")[0] in sys.builtin_module_names


@cache
def _is_library(file: str) -> bool:
    own = file.startswith(LIBRARIES[:2])
    return own or file.startswith("<frozen ") or (file.startswith(LIBRARIES) and not file.startswith(INSTALLED))


def address(tensor: Tensor) -> int:
    """Return where a tensor's memory begins, which is the same for all that share it."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # tensors of another layout have no memory of this kind
        return -id(tensor)
