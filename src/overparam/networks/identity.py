"""What makes a network, or code, of one's own the same: the guard against finding an old one's results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from overparam.networks.architecture import Factory
from overparam.networks.content import Content, plain_repr
from overparam.networks.origin import is_users


def state_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's ``state_dict``: names, types, shapes and bytes."""
    return Content().add(dict(module.state_dict())).digest()


def own_content(thing: Any) -> dict[str, Any] | None:
    """Return the content of a function, class or object whose code is the user's, JSON-able and equal in every process.

    None for what comes with overparam or another library: that has a name and a version.
    """
    owner = thing if isinstance(thing, type) or hasattr(thing, "__code__") else type(thing)
    return content_of(thing) if is_users(str(owner.__module__)) else None


def content_of(thing: Any) -> dict[str, Any]:
    """Return the SHA-256 of ``thing`` with the source files and the package versions it involves, JSON-able."""
    content = Content().add(thing)
    return {
        "content": content.digest(),
        "sources": dict(sorted(content.sources.items())),
        "packages": dict(sorted(content.packages.items())),
    }


def module_identity(factory: Factory, options: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
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
