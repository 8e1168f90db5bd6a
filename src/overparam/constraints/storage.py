"""Constraints as tensors and JSON, which files can hold, and back. Nothing is pickled.

Tensors are named ``NAME/FIELD``, ``NAME`` being that of the tensor in the state dict; the facts of each constraint are
its ``kind`` (a registered name, or the import path of one's own) and its other ``fields``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from overparam.constraints.base import CONSTRAINTS, Constraint
from overparam.errors import SpecError
from overparam.spec import plain


def to_parts(constraints: Mapping[str, Constraint]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return copies of the tensors of all ``constraints``, as files hold none twice, and the facts of each."""
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for name, constraint in constraints.items():
        fields = {f.name: getattr(constraint, f.name) for f in dataclasses.fields(cast(Any, constraint))}
        tensors |= {f"{name}/{key}": _copy(value) for key, value in fields.items() if isinstance(value, Tensor)}
        rest = {key: plain(value) for key, value in fields.items() if not isinstance(value, Tensor)}
        facts[name] = {"kind": _kind(type(constraint)), "fields": rest}
    return tensors, facts


def from_parts(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Constraint]:
    """Return the constraints that :func:`to_parts` took apart; raises :class:`SpecError` for what is none."""
    fields: dict[str, dict[str, Any]] = {name: {**about["fields"]} for name, about in facts.items()}
    for key, tensor in tensors.items():
        name, _, field = key.rpartition("/")
        fields[name][field] = tensor
    return {name: _class(about["kind"])(**fields[name]) for name, about in facts.items()}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def _kind(made: type[Constraint]) -> str:
    name = CONSTRAINTS.name_of(made)
    if name is None and (made.__module__ == "__main__" or "<locals>" in made.__qualname__):
        raise SpecError(
            f"constraint {made.__name__!r} could not be found again by who reads what is stored: put its class into "
            "a module of its own, at the top level, not into a function, a notebook or the file that is run"
        )
    return name or f"{made.__module__}:{made.__qualname__}"


def _class(kind: str) -> type[Constraint]:
    found = CONSTRAINTS.get(kind)
    if not (isinstance(found, type) and issubclass(found, Constraint)):
        raise SpecError(f"constraint {kind!r} must be a subclass of Constraint, got {found!r}")
    return found
