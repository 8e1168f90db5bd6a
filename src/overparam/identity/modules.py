"""What makes a network, or code, of one's own the same: the guard against finding an old one's results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from overparam.identity.digest import Content, plain_repr
from overparam.identity.origin import is_users


def state_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's ``state_dict``: names, types, shapes and bytes."""
    return Content().add(dict(module.state_dict())).digest()


def comes_with_overparam(thing: Any) -> bool:
    """Tell whether a function, class or object is overparam's: then it is known by its name and version."""
    owner = thing if isinstance(thing, type) or hasattr(thing, "__code__") else type(thing)
    return str(owner.__module__).partition(".")[0] == "overparam"


def identity_of(thing: Any) -> dict[str, Any]:
    """Return what ``thing`` is, JSON-able and equal in every process: two that compute otherwise never share it.

    It has the SHA-256 of all that the thing is made of, those of the user's source files that are involved, and the
    versions of the installed packages.
    """
    found = Content().add(thing)
    owner = thing if isinstance(thing, type) or hasattr(thing, "__code__") else type(thing)
    if not is_users(str(owner.__module__)):
        found.package(str(owner.__module__))
    return {
        "content": found.digest(),
        "sources": dict(sorted(found.sources.items())),
        "packages": dict(sorted(found.packages.items())),
    }


def module_identity(factory: Callable[..., nn.Module], options: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
    """Return the content of a factory and of a module it just made, JSON-able and equal in every process.

    * ``state``: :func:`state_digest` of the initial weights.
    * ``content``: SHA-256 of the factory, the options, the module's ``repr`` and all of its attributes:
      hooks, switches, functions and tensors outside the state dict included; of functions and classes the
      code as it is loaded, their defaults, closures and the globals they name.
    * ``sources``: SHA-256 of the source files of all modules of the user's that are involved, those included
      that they refer to through their globals.
    * ``packages``: versions of the installed packages that layers or functions come from, without torch.

    Not seen: data that the code reads from files while it runs, and the inside of compiled extensions that
    does not show in the initial state.
    """
    content = Content().add(factory, dict(options), module, plain_repr(module))
    return {
        "state": state_digest(module),
        "content": content.digest(),
        "options": json.loads(json.dumps(options, default=plain_repr)),
        "sources": dict(sorted(content.sources.items())),
        "packages": dict(sorted(content.packages.items())),
    }


def kept_outside(module: nn.Module) -> dict[str, str]:
    """Return a digest of each thing that ``module`` keeps outside its state dict, by its dotted path.

    Plain attributes of the parts of the module, buffers that are not persistent, hooks, and as ``class NAME`` what
    the classes of its parts and the globals that their code names hold. A forward that changes one of them has a
    state that no checkpoint keeps. Parts of overparam's own, such as sparse layers, keep nothing that counts.
    """
    parts = list(module.named_modules())
    own = [tensor for _, part in parts for tensor in _persistent(part)]
    known = [part for _, part in parts] + own
    found = {}
    for path, part in parts:
        if type(part).__module__.partition(".")[0] == "overparam":
            continue
        for name, value in _kept_by(part):
            found[f"{path}.{name}" if path else name] = held_digest(value, known)
        if is_users(type(part).__module__):
            found.setdefault(f"class {type(part).__qualname__}", held_digest(type(part), known))
    return found


def held_digest(value: Any, known: Sequence[object] = ()) -> str:
    """Return what tells a value from a changed one, within this process; ``known`` as in :class:`Content`."""
    parts = value if type(value) is tuple else (value,)
    if all(part is None or type(part) in (bool, int, float, str) for part in parts):
        return repr(value)  # most attributes of torch's layers
    return _Held(known).add(value).digest()


class _Held(Content):
    """Content without a look at the files that code comes from, which cost more than all else."""

    def _source(self, module_name: str) -> None:
        pass

    def _package(self, module_name: str) -> None:
        pass


def _persistent(part: nn.Module) -> list[Any]:
    """Return the parameters and buffers that the state dict of a part has."""
    buffers = [value for name, value in part._buffers.items() if name not in part._non_persistent_buffers_set]
    return [value for value in (*part._parameters.values(), *buffers) if value is not None]


def _kept_by(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what a part keeps besides its parameters, persistent buffers, parts and the training flag."""
    skipped = ["training", "_parameters", "_buffers", "_modules", "_compiled_call_impl"]
    if isinstance(part, nn.RNNBase):  # torch's lists of its parameters, made anew at each call where they are others
        skipped += ["_flat_weights", "_flat_weight_refs"]
    for name, value in vars(part).items():
        if name in skipped:
            continue
        if "_hooks" not in name or not isinstance(value, dict):
            yield name, value
        elif value:  # hooks are kept by numbers that count those of the whole process
            yield name, list(value.values())
    for name in sorted(part._non_persistent_buffers_set):
        yield name, part._buffers[name]
