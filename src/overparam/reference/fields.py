"""The fields of a thing: a spec, another dataclass, or the keywords of a function; each with what it means."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from overparam.reference.annotations import Linked, description, in_words
from overparam.reference.docstrings import docstring_of

REQUIRED = object()
"""The default of a field that has none."""


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: as in a study file and in Python.
        values: what values it takes, with ranges, as Markdown.
        default: its default, or :data:`REQUIRED`.
        words: what it means, as the docstrings say; empty if nothing does.
    """

    name: str
    values: str
    default: Any
    words: str


def fields_of(thing: Any, given: Collection[str] = (), linked: Linked = lambda thing: None) -> tuple[Field, ...]:
    """Return the fields of a class or function in order.

    Args:
        thing: a spec class, another dataclass, a class, or a function, whose keywords are its fields.
        given: parameters of a function that it is called with, which are no fields.
        linked: what stands for the classes and registries that fields name, see :mod:`overparam.reference.annotations`.
    """
    said = words_of(thing)
    return tuple(
        Field(name, in_words(kind, linked), default, said.get(name) or description(kind))
        for name, kind, default in declared(thing)
        if name not in given
    )


def words_of(thing: Any) -> dict[str, str]:
    """Return what docstrings say of each field; a class's own goes before those of its bases."""
    sources = thing.__mro__ if isinstance(thing, type) else [thing]
    said: dict[str, str] = {}
    for each in sources:
        said = {
            **docstring_of(each).args,
            **(docstring_of(vars(each).get("__init__")).args if each in sources[:1] and isinstance(each, type) else {}),
            **said,
        }
    return said


def declared(thing: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, annotation and default of each field."""
    if dataclasses.is_dataclass(thing) and isinstance(thing, type) and not _own_init(thing):
        checked = getattr(thing, "__pydantic_fields__", {})
        hints = {} if checked else typing.get_type_hints(thing, include_extras=True)
        for each in dataclasses.fields(thing):
            info = checked.get(each.name)
            kind = typing.Annotated[info.annotation, *(info.metadata or [None])] if info else hints[each.name]
            yield each.name, kind, _default(each)
        return
    hints = _hints(vars(thing).get("__init__", object) if isinstance(thing, type) else thing)
    for name, parameter in inspect.signature(thing).parameters.items():
        default = REQUIRED if parameter.default is parameter.empty else parameter.default
        yield name, hints.get(name, parameter.annotation), default


def _own_init(cls: type) -> bool:
    """Tell whether a dataclass has a constructor that was written by hand, whose parameters are then its fields."""
    made = cls.__dict__.get("__init__")
    return made is not None and not hasattr(cls, "__pydantic_fields__") and "<string>" not in made.__code__.co_filename


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except NameError:  # annotations that only type checkers see
        return {}


def _default(each: dataclasses.Field[Any]) -> Any:
    if each.default_factory is not dataclasses.MISSING:
        return each.default_factory()
    return REQUIRED if each.default is dataclasses.MISSING else each.default
