"""What an annotation allows, in words: ``Annotated[float, Field(gt=0)] | None`` is "number > 0, or null"."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic.fields import FieldInfo

from overparam.registry import Registry

PLAIN: dict[Any, str] = {
    **{bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", type(None): "null"},
    **{Any: "anything", object: "anything"},
}
_LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))

Linked = Callable[[Any], str | None]
"""Returns what stands for a class or a registry, such as a link to its entry; None: nothing does."""


def in_words(annotation: Any, linked: Linked, metadata: Iterable[Any] = ()) -> str:
    """Return what values an annotation allows, with pydantic's limits in its ``metadata``."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        return in_words(inner, linked, (*more, *metadata))
    found = flat(metadata)
    registry = next((each for each in found if isinstance(each, Registry)), None)
    if registry is not None:
        return linked(registry) or registry.kind
    words = PLAIN.get(annotation) or _made_of(annotation, linked)
    return f"{words}{_limits(found)}"


def description(annotation: Any) -> str:
    """Return the description that the type itself carries, as ``Annotated[float, Field(description=...)]``."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return ""
    return next((each.description for each in annotation.__metadata__ if getattr(each, "description", None)), "")


def flat(metadata: Iterable[Any]) -> list[Any]:
    """Return metadata with that of pydantic's fields beside it, which nest."""
    found = []
    for each in metadata:
        found += flat(each.metadata) if isinstance(each, FieldInfo) else [each]
    return found


def _made_of(annotation: Any, linked: Linked) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(", ".join(f"`{each}`" for each in args).rsplit(", ", 1)) if len(args) > 1 else f"`{args[0]}`"
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(in_words(each, linked) for each in args)
    if origin is not None and isinstance(origin, type) and issubclass(origin, tuple | list | Sequence):
        return _list(args, linked)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping: {in_words(args[1], linked)} by name"
    if origin is not None and "Callable" in str(origin):
        return "function"
    return linked(annotation) or f"`{getattr(annotation, '__name__', annotation)}`"


def _list(args: tuple[Any, ...], linked: Linked) -> str:
    """Return a list of one kind, or of so many entries, each of its own."""
    kinds = [in_words(each, linked) for each in args if each is not ...]
    if len(kinds) == 1:
        return f"list of {kinds[0]}"
    return f"list of {len(kinds)}: {kinds[0]}" if len(set(kinds)) == 1 else f"list of {', '.join(kinds)}"


def _limits(metadata: Iterable[Any]) -> str:
    """Return the limits of a number: "in [0, 1)" where there are two, " > 0" for one."""
    found = [(sign, value) for each in metadata for name, sign in _LIMITS if (value := _limit(each, name)) is not None]
    if len(found) == 2:
        (low, least), (high, most) = found
        return f" in {'[' if low == '≥' else '('}{least}, {most}{']' if high == '≤' else ')'}"
    return "".join(f" {sign} {value}" for sign, value in found)


def _limit(each: Any, name: str) -> Any:
    return getattr(each, name, None)
