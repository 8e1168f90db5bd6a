"""Hashing Python values by what they are made of: data, code, and the source files of the code."""

from __future__ import annotations

import hashlib
import re
import types
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from overparam.errors import SpecError
from overparam.identity.names import names_in
from overparam.identity.origin import (
    imported_modules,
    is_users,
    neighbours,
    package_version,
    source_digest,
)

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_GRAPH_LINE = re.compile(r" *#.*")  # where in a file a node of a TorchScript graph comes from
_SCALARS = (type(None), bool, int, float, complex, str, type(Ellipsis), type(NotImplemented), range)
_NAMED = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


class Content:
    """A hash over values and everything that they are made of or call, the same in every process.

    Followed are containers, tensors and arrays (by their bytes), objects (by their class and state),
    functions (code, defaults, closures, and the values of the globals they name), classes (their members and
    bases) and modules. What belongs to the user's code is followed into its code; of that of libraries
    (torch, the standard library, installed packages) only the name enters, and the values that closures hold.
    An object that can neither be pickled nor has attributes enters by its type and ``repr``. TorchScript modules
    raise :class:`SpecError`.

    ``known`` are values whose own content shall not count: each enters by its place among them only.

    ``sources`` and ``packages`` collect, by module name, the SHA-256 of the user's source files and the
    versions of the installed packages that were met on the way. Code in ``__main__``, in a notebook or from
    ``exec`` has no file that both parent and worker processes see, so it enters by its code objects alone;
    editing other parts of a script changes nothing.
    """

    def __init__(self, known: Iterable[object] = ()) -> None:
        self.sources: dict[str, str] = {}
        self.packages: dict[str, str] = {}
        self._hash = hashlib.sha256()
        # holds the objects, so that no id is used twice
        self._seen: dict[int, tuple[int, object]] = {id(value): (place, value) for place, value in enumerate(known)}
        self._later: deque[object] = deque()  # a queue, as linked objects may reach deeper than Python's stack

    def add(self, *values: object) -> Content:
        """Take the values into the hash and return self."""
        for value in values:
            self._value(value)
            while self._later:
                self._compound(self._later.popleft())
        return self

    def package(self, module_name: str) -> Content:
        """Note the version of the installed package that a module belongs to, and return self."""
        self._package(module_name)
        return self

    def digest(self) -> str:
        """Return the SHA-256 of all that was added, in hex."""
        return self._hash.hexdigest()

    def _emit(self, kind: str, data: str | bytes = b"") -> None:
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        self._hash.update(f"{kind}:{len(raw)}:".encode())
        self._hash.update(raw)

    def _refer(self, value: object) -> None:
        """Emit the number of a value that may be met again or contain itself; its content follows once, later."""
        if id(value) not in self._seen:
            self._seen[id(value)] = (len(self._seen), value)
            self._later.append(value)
        self._emit("number", str(self._seen[id(value)][0]))

    def _value(self, value: Any) -> None:
        kind = type(value)
        if kind in _SCALARS:
            self._emit(kind.__name__, repr(value))
        elif kind is bytes:
            self._emit("bytes", value)
        elif kind is tuple:
            self._sequence("tuple", value)
        elif kind in (set, frozenset):
            # the order of a set differs from process to process
            self._sequence(kind.__name__, sorted(value, key=lambda item: (type(item).__name__, plain_repr(item))))
        elif isinstance(value, types.CodeType):
            self._code(value)
        elif isinstance(value, types.ModuleType):
            self._emit("module", value.__name__)
            self._source(value.__name__)
        elif isinstance(value, _NAMED):
            self._emit("named", f"{getattr(value, '__module__', '')}.{value.__qualname__}")
            self._builtin_self(value)
        elif isinstance(value, types.MethodType):
            self._sequence("method", (value.__func__, value.__self__))
        elif isinstance(value, staticmethod | classmethod):
            self._sequence(kind.__name__, (value.__func__,))
        elif isinstance(value, property):
            self._sequence("property", (value.fget, value.fset, value.fdel))
        else:
            self._refer(value)

    def _compound(self, value: Any) -> None:
        """Take in the content of a value that :meth:`_refer` numbered."""
        if isinstance(value, type):
            self._class(value)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif type(value) is list:
            self._sequence("list", value)
        elif type(value) in (dict, types.MappingProxyType):
            self._mapping(value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            self._emit("array", f"{value.dtype.str}{value.shape}")
            self._emit("elements", np.ascontiguousarray(value).tobytes())
        elif isinstance(value, nn.Module):
            self._module(value)
        elif isinstance(value, torch.jit.ScriptFunction):
            self._emit("script", _GRAPH_LINE.sub("", str(value.inlined_graph)))
        else:
            self._object(value)

    def _sequence(self, kind: str, values: Iterable[Any]) -> None:
        items = list(values)
        self._emit(kind, str(len(items)))
        for item in items:
            self._value(item)

    def _mapping(self, values: Mapping[Any, Any]) -> None:
        self._emit("dict", str(len(values)))
        for key, value in values.items():
            self._value(key)
            self._value(value)

    def _tensor(self, tensor: Tensor) -> None:
        self._emit("tensor", f"{type(tensor).__name__} {tensor.dtype} {tensor.requires_grad}")
        if is_lazy(tensor):
            return
        self._emit("shape", str(tuple(tensor.shape)))
        kept = tensor.detach()
        if kept.is_quantized:
            kept = kept.dequantize()
        kept = kept.to_dense() if kept.layout is not torch.strided else kept.resolve_conj().resolve_neg()
        if kept.device.type != "meta":
            flat = kept.cpu().contiguous().reshape(-1)
            self._emit("elements", flat.view(torch.uint8).numpy().tobytes())

    def _module(self, module: nn.Module) -> None:
        """Take in an ``nn.Module``: its class, parameters, buffers, submodules and all other attributes."""
        if isinstance(module, torch.jit.ScriptModule):
            raise SpecError(
                "a TorchScript module does not show when it has changed, so its results could not be found again "
                "safely; let the factory return the Python module that it was made from"
            )
        if "_orig_mod" in module._modules:  # torch.compile's wrapper, which computes what its original does
            self._value(module._modules["_orig_mod"])
            return
        self._value(type(module))
        for name, value in sorted(vars(module).items()):
            if name == "_compiled_call_impl":
                continue
            self._emit("attribute", name)
            if "_hooks" in name and isinstance(value, dict):
                value = list(value.values())  # the keys count the hooks of the whole process
            self._value(value)

    def _object(self, value: object) -> None:
        self._value(type(value))
        try:
            reduced: Any = value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001  (whatever an unknown class raises to say that it cannot be pickled)
            reduced = None
        if isinstance(reduced, tuple):
            function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
            self._sequence("reduced", (function, arguments, state, [*(items or ())], [*(pairs or ())]))
            return
        self._emit("opaque", reduced if isinstance(reduced, str) else plain_repr(value))
        self._value(dict(sorted(getattr(value, "__dict__", {}).items())))

    def _builtin_self(self, value: Any) -> None:
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType):
            self._value(owner)

    def _function(self, function: types.FunctionType) -> None:
        """Take in a function: its code if it is the user's, and in any case the values that it holds."""
        home = str(function.__globals__.get("__name__", ""))
        users = is_users(home, function.__code__.co_filename)
        self._emit("function", f"{'' if users else home}.{function.__qualname__}")
        if users:
            self._source(home)
            self._value(function.__code__)
            self._value(function.__defaults__)
            self._value(function.__kwdefaults__)
            self._globals(function)
        else:
            self._package(home)
        for cell in function.__closure__ or ():
            try:
                self._value(cell.cell_contents)
            except ValueError:  # still empty
                self._emit("empty")
        self._value(dict(sorted(vars(function).items())))

    def _globals(self, function: types.FunctionType) -> None:
        """Take in the globals that the function names, and what it names of the user's modules."""
        names = names_in(function.__code__)
        space = function.__globals__
        named = {name: space[name] for name in sorted(names.globals & space.keys())}
        self._value(named)
        modules = [value for value in named.values() if isinstance(value, types.ModuleType)]
        modules += imported_modules(names.imports, str(space.get("__package__") or ""))
        done = set()
        for module in modules:  # grows while it is walked
            if module.__name__ in done or not is_users(module.__name__):
                continue
            done.add(module.__name__)
            self._value(module)
            members = {name: vars(module)[name] for name in sorted(names.attributes & vars(module).keys())}
            modules += [value for value in members.values() if isinstance(value, types.ModuleType)]
            self._value(members)

    def _code(self, code: types.CodeType) -> None:
        shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self._sequence("code", (shape, names, code.co_code, code.co_exceptiontable, code.co_consts))

    def _class(self, cls: type) -> None:
        """Take in a class: of the user's its bases and members, of a library's its name."""
        # of classes that Cython makes this may be a descriptor
        home = cls.__module__ if isinstance(cls.__module__, str) else "builtins"
        users = is_users(home)
        self._emit("class", f"{'' if users else home}.{cls.__qualname__}")
        if not users:
            if issubclass(cls, nn.Module):
                self._package(home)
            return
        self._source(home)
        self._sequence("bases", (type(cls), *cls.__bases__))
        for name, value in sorted(vars(cls).items()):
            if _is_member(name, value):
                self._emit("member", name)
                self._value(value)

    def _source(self, module_name: str) -> None:
        """Note the source file of a user's module and of all the user's modules that its globals refer to."""
        if module_name in self.sources or not is_users(module_name):
            return
        found = source_digest(module_name)
        if found is not None:
            self.sources[module_name] = found
            for name in neighbours(module_name):
                self._source(name)

    def _package(self, module_name: str) -> None:
        version = package_version(module_name)
        if version is not None:
            self.packages[module_name.partition(".")[0]] = version


def plain_repr(value: object) -> str:
    """Return ``repr(value)`` without memory addresses."""
    return _ADDRESS.sub("", repr(value))


def _is_member(name: str, value: object) -> bool:
    """Say whether an entry of a class is its author's, not one that Python or ``copyreg`` put there."""
    if name == "_abc_impl" or name.startswith("__annotate"):
        return False
    dunder = name.startswith("__") and name.endswith("__")
    return not dunder or isinstance(value, types.FunctionType | staticmethod | classmethod | property)
