"""What makes a thing of the user's the same: the guard against finding an old one's results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from overparam.identity.digest import Digest, plain_repr
from overparam.identity.origin import packages, sources


def identity_of(thing: Any) -> dict[str, Any]:
    """Return what ``thing`` is, JSON-able and equal in every process: two that compute otherwise never share it.

    * ``digest``: the :class:`~overparam.identity.digest.Digest` of all that it is made of: of functions and classes
      the code as it is loaded, their defaults, closures and the globals they name; of objects their state.
    * ``sources``: SHA-256 of the user's files that it comes from and of all that they import: an edited comment
      makes another thing of it. Scripts and notebooks have none, so that other lines of them may change.
    * ``packages``: versions of the installed packages that are involved, without torch and NumPy.

    Not seen: data that code reads from files while it runs, modules that it imports by computed names, and the inside
    of the compiled extensions of packages.
    """
    found = Digest().add(thing)
    return {"digest": found.hex(), "sources": sources(found.homes), "packages": packages(found.homes)}


def comes_with_overparam(thing: Any) -> bool:
    """Tell whether a function, class or object is overparam's: then it is known by its name and version."""
    owner = thing if isinstance(thing, type) or hasattr(thing, "__code__") else type(thing)
    return str(owner.__module__).partition(".")[0] == "overparam"


def module_identity(factory: Callable[..., nn.Module], options: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
    """Return the identity of a factory, its options and a module it just made, with the digest of its state.

    Hooks, switches, functions and tensors outside the state dict count, and the module's ``repr``.
    """
    return {"state": state_digest(module), **identity_of((factory, dict(options), module, plain_repr(module)))}


def state_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's ``state_dict``: names, types, shapes and bytes."""
    return Digest().add(dict(module.state_dict())).hex()
