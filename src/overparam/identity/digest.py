"""Hashing Python values by what they are made of: data, code, and what the code refers to."""

from __future__ import annotations

import hashlib
import re
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError
from overparam.identity.names import names_in
from overparam.identity.origin import is_users, users_module

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_GRAPH_LINE = re.compile(r" *#.*")  # where in a file a node of a TorchScript graph comes from
_SCALARS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented), range)
_INLINE = (  # values, and objects that Python makes anew at each look: two equal ones are the same
    tuple,
    set,
    frozenset,
    types.CodeType,
    types.CellType,
    types.MethodType,
    staticmethod,
    classmethod,
    property,
)

Parts = tuple[str, Iterable[Any]]


class Digest:
    """The SHA-256 of values and everything that they are made of or call, the same in every process.

    Followed are containers, tensors and arrays (by their bytes), objects (by their class and state),
    functions (code, defaults, closures, and the values of the globals they name) and classes (members and
    bases). What belongs to the user's code is followed into its code, which may be older than its file; of that of
    libraries (torch, the standard library, installed packages) only the name enters, and the values that closures
    hold. An object that can neither be pickled nor has attributes enters by its type and ``repr``. TorchScript
    modules raise :class:`SpecError`.

    ``known`` are values whose own content shall not count: each enters by its place among them only. ``homes``
    collects the names of the modules that what was met on the way comes from.
    """

    def __init__(self, known: Iterable[object] = ()) -> None:
        self.homes: set[str] = set()
        self._hash = hashlib.sha256()
        # holds the objects, so that no id is used twice
        self._seen: dict[int, tuple[int, object]] = {id(value): (place, value) for place, value in enumerate(known)}
        self._later: deque[object] = deque()  # a queue, as linked objects may reach deeper than Python's stack

    def add(self, *values: object) -> Digest:
        """Take the values into the hash and return self."""
        for value in values:
            self._take(value)
            while self._later:
                self._describe(self._later.popleft())
        return self

    def hex(self) -> str:
        """Return the SHA-256 of all that was added, in hexadecimal."""
        return self._hash.hexdigest()

    def _take(self, value: Any) -> None:
        """Take in a value: what may be met again or contain itself by a number, its content once and later."""
        if type(value) in _SCALARS:
            self._emit(type(value).__name__, value if isinstance(value, bytes) else repr(value))
        elif type(value) in _INLINE:
            self._describe(value)
        else:
            if id(value) not in self._seen:
                self._seen[id(value)] = (len(self._seen), value)
                self._later.append(value)
            self._emit("number", str(self._seen[id(value)][0]))

    def _describe(self, value: Any) -> None:
        self.homes.update(home for home in _homes(value) if isinstance(home, str))
        label, parts = _parts(value)
        parts = list(parts)
        self._emit(f"{type(value).__name__} of {len(parts)}", label)
        for part in parts:
            self._take(part)

    def _emit(self, kind: str, data: str | bytes) -> None:
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        self._hash.update(f"{kind}:{len(raw)}:".encode())
        self._hash.update(raw)


def plain_repr(value: object) -> str:
    """Return ``repr(value)`` without memory addresses."""
    return _ADDRESS.sub("", repr(value))


def _homes(value: Any) -> Iterator[Any]:
    """Yield the modules that a value comes from; a decorated function has the home of its original, and its own."""
    yield value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    if isinstance(value, types.FunctionType):
        yield value.__globals__.get("__name__")


def _parts(value: Any) -> Parts:
    """Return what tells a value from others of its type, and what it is made of."""
    if type(value) in _EXACTLY:
        return "", _EXACTLY[type(value)](value)
    return next((parts(value) for kind, parts in _DERIVED.items() if isinstance(value, kind)), None) or _object(value)


def _sorted(values: Iterable[Any]) -> list[Any]:
    """Return the values of a set, whose order differs from process to process."""
    return sorted(values, key=lambda item: (type(item).__name__, plain_repr(item)))


def _pairs(values: Mapping[Any, Any]) -> list[Any]:
    return [part for pair in values.items() for part in pair]


def _by_name(values: Mapping[str, Any]) -> list[Any]:
    return _pairs(dict(sorted(values.items())))


def _cell(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # still empty
        return ()


def _code(code: types.CodeType) -> tuple[Any, ...]:
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return shape, names, code.co_code, code.co_exceptiontable, code.co_consts


def _function(function: types.FunctionType) -> Parts:
    """A function: its code if it is the user's, and in any case the values that it holds."""
    home = str(function.__globals__.get("__name__", ""))
    held = [function.__closure__, *_by_name(vars(function))]
    if not is_users(home, function.__code__.co_filename):
        return f"{home}.{function.__qualname__}", held
    defaults = (function.__defaults__, function.__kwdefaults__)
    return function.__qualname__, [*held, function.__code__, *defaults, *_named_by(function)]


def _named_by(function: types.FunctionType) -> Iterator[Any]:
    """Yield the globals that a function names, and what it names of the user's modules, by name."""
    space = function.__globals__
    names = names_in(function.__code__, str(space.get("__package__") or ""))
    done: set[str] = set()

    def members(values: Mapping[str, Any], wanted: set[str]) -> Iterator[Any]:
        for name in sorted(wanted & values.keys()):
            yield from (name, values[name])
            yield from inside(values[name])

    def inside(module: Any) -> Iterator[Any]:
        if isinstance(module, types.ModuleType) and module.__name__ not in done and is_users(module.__name__):
            done.add(module.__name__)
            yield module
            yield from members(vars(module), names.attributes)

    yield from members(space, names.globals)
    for name in sorted(names.imports):
        yield from inside(users_module(name))


def _class(cls: type) -> Parts:
    """A class: of the user's its bases and members, of a library's its name."""
    # of classes that Cython makes the module may be a descriptor
    home = cls.__module__ if isinstance(cls.__module__, str) else "builtins"
    if not is_users(home):
        return f"{home}.{cls.__qualname__}", ()
    members = {name: value for name, value in vars(cls).items() if _is_member(name, value)}
    return cls.__qualname__, [type(cls), cls.__bases__, *_by_name(members)]


def _is_member(name: str, value: object) -> bool:
    """Tell whether an entry of a class is its author's, not one that Python or ``copyreg`` put there."""
    if name == "_abc_impl" or name.startswith("__annotate"):
        return False
    dunder = name.startswith("__") and name.endswith("__")
    return not dunder or isinstance(value, types.FunctionType | staticmethod | classmethod | property)


def _array(array: np.ndarray[Any, Any]) -> Iterable[Any]:
    return _object(array)[1] if array.dtype.hasobject else (repr(array.dtype), array.shape, array.tobytes())


def _tensor(tensor: Tensor) -> Parts:
    label = f"{type(tensor).__name__} {tensor.dtype} {tensor.requires_grad}"
    if is_lazy(tensor):
        return label, ()
    kept = tensor.detach()
    if kept.is_quantized:
        kept = kept.dequantize()
    kept = kept.to_dense() if kept.layout is not torch.strided else kept.resolve_conj().resolve_neg()
    flat = kept.cpu().contiguous().reshape(-1) if kept.device.type != "meta" else torch.empty(0)
    return f"{label} {tuple(tensor.shape)}", (flat.view(torch.uint8).numpy().tobytes(), *_by_name(vars(tensor)))


def _module(module: nn.Module) -> Parts:
    """An ``nn.Module``: its class, parameters, buffers, submodules and all other attributes."""
    if isinstance(module, torch.jit.ScriptModule):
        raise SpecError(
            "a TorchScript module does not show when it has changed, so its results could not be found again "
            "safely; let the factory return the Python module that it was made from"
        )
    if "_orig_mod" in module._modules:  # torch.compile's wrapper, which computes what its original does
        return "compiled", (module._modules["_orig_mod"],)
    return "", [type(module), *_by_name(attributes(module))]


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return what a module holds by name: tensors, parts and all else; hooks as lists, as their keys count all hooks
    of the process."""
    held = {name: value for name, value in vars(module).items() if name != "_compiled_call_impl"}
    hooks = {name: value for name, value in held.items() if "_hooks" in name and isinstance(value, dict)}
    return held | {name: list(value.values()) for name, value in hooks.items()}


def _object(value: object) -> Parts:
    try:
        reduced: Any = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001  (whatever an unknown class raises to say that it cannot be pickled)
        reduced = None
    if isinstance(reduced, tuple):
        *rest, items, pairs, setter = (*reduced, *[None] * 4)[:6]
        return "", (type(value), *rest, [*(items or ())], [*(pairs or ())], setter)
    said = f"{getattr(value, '__module__', '')} {reduced}" if isinstance(reduced, str) else plain_repr(value)
    return said, [type(value), *_by_name(getattr(value, "__dict__", {}))]


_EXACTLY: dict[type, Callable[[Any], Iterable[Any]]] = {  # a subclass may hold more
    tuple: tuple,
    list: list,
    dict: _pairs,
    types.MappingProxyType: _pairs,
    set: _sorted,
    frozenset: _sorted,
    types.CodeType: _code,
    types.CellType: _cell,
    types.MethodType: lambda method: (method.__func__, method.__self__),
    np.ndarray: _array,
}
_DERIVED: dict[type, Callable[[Any], Parts]] = {
    type: _class,
    types.FunctionType: _function,
    types.ModuleType: lambda module: (module.__name__, ()),
    staticmethod: lambda wrapped: ("", (wrapped.__func__,)),
    classmethod: lambda wrapped: ("", (wrapped.__func__,)),
    property: lambda wrapped: ("", (wrapped.fget, wrapped.fset, wrapped.fdel)),
    Tensor: _tensor,
    nn.Module: _module,
    torch.jit.ScriptFunction: lambda function: (_GRAPH_LINE.sub("", str(function.inlined_graph)), ()),
}
