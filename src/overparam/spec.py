"""Specs: small frozen objects whose constructor is the configuration, checked when they are made."""

from __future__ import annotations

import dataclasses
import itertools
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast, dataclass_transform

import numpy as np
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import core_schema

from overparam.errors import Keys, SpecError, suggest

__all__ = ["spec"]

C = TypeVar("C")

WORDS = {
    "a valid boolean": "true or false",
    "a valid tuple": "a list",
    "a valid dictionary": "a mapping",
    "a dictionary or an instance of": "a mapping of the fields of",
}
"""What pydantic calls things, and what a study file does."""


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def spec(cls: type[C]) -> type[C]:
    """Make ``cls`` a frozen dataclass whose fields are checked by pydantic; wrong ones raise :class:`SpecError`.

    Nothing is taken for something else: text and booleans are no numbers, numbers no booleans, ``32.0`` is no whole
    number. Lists become tuples and mappings specs, where the fields are. What is printed of an object is what differs
    from the defaults.

    >>> @spec
    ... class Noise:
    ...     rate: float
    ...     kind: str = "symmetric"
    >>> Noise(0.2)
    Noise(rate=0.2)
    >>> Noise(rate="x")
    Traceback (most recent call last):
    ...
    overparam.errors.SpecError: Noise.rate: input should be a valid number, got 'x'
    """
    cls.__get_pydantic_core_schema__ = classmethod(lambda _, source, handler: _strict(handler(source)))  # type: ignore[attr-defined]
    has_words = "__repr__" in cls.__dict__
    made = pydantic_dataclass(
        frozen=True, repr=False, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
    )(cls)
    original: Callable[..., None] = made.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        try:
            original(self, *args, **kwargs)
        except ValidationError as error:
            raise SpecError(explain(error, made), _keys(error)) from None
        except TypeError as error:
            raise SpecError(f"{made.__name__}: {str(error).replace('__init__() ', '')}") from None

    __init__.__wrapped__ = original  # type: ignore[attr-defined]
    made.__init__ = __init__  # type: ignore[method-assign]
    if not has_words:
        made.__repr__ = _changed  # type: ignore[method-assign]
    return cast(type[C], made)


def _changed(self: Any) -> str:
    """Return the class with the fields that are not what they are by default."""
    values = [(field.name, getattr(self, field.name), _default(field)) for field in dataclasses.fields(self)]
    shown = [f"{name}={value!r}" for name, value, usual in values if type(value) is not type(usual) or value != usual]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _strict(schema: Any) -> Any:
    """Return pydantic's ``schema`` with its numbers and booleans strict; pydantic can else do so for all or nothing."""
    if isinstance(schema, list | tuple):
        return type(schema)(_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(part) for key, part in schema.items()}
    if made.get("type") not in ("int", "float", "bool") or made.get("strict"):
        return made
    return core_schema.no_info_before_validator_function(native, {**made, "strict": True})


def named_by_class(cls: type) -> None:
    """Give a class that does not state its ``kind`` one after its name: ``AddNoise`` is ``add-noise``."""
    if "kind" not in vars(cls):
        cls.kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()  # type: ignore[attr-defined]


def native(value: Any) -> Any:
    """Return a number of NumPy's as Python's, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def field_names(cls: type) -> tuple[str, ...]:
    """Return the names of the fields of a spec class, in order."""
    return tuple(field.name for field in dataclasses.fields(cls))


def no_field(cls: type, name: str) -> str:
    """Say that a spec class has no field ``name``: which it has, what was perhaps meant, or where the field went."""
    if name in (moved := getattr(cls, "moved", {})):
        return f"no such field any more: {moved[name]}"
    known = field_names(cls)
    return f"no such field{suggest(name, known)} (known: {', '.join(known)})"


def check_field(cls: type, name: str, label: str) -> None:
    """Raise :class:`SpecError`, beginning with ``label``, if a spec class has no field ``name``."""
    if name not in field_names(cls):
        raise SpecError(f"{label}: {no_field(cls, name)}")


def _owner(cls: type, path: tuple[int | str, ...]) -> type:
    """Return the spec class whose fields stand at ``path`` below ``cls``, as far as the annotations tell."""
    for part in path:
        known = getattr(cls, "__pydantic_fields__", {})  # with annotations that were written as strings resolved
        annotation = known[part].annotation if part in known else None
        candidates = [annotation, *typing.get_args(annotation)]
        cls = next((c for c in candidates if isinstance(c, type) and dataclasses.is_dataclass(c)), cls)
    return cls


def _keys(error: ValidationError) -> Keys:
    """Return the keys that lead to the first of pydantic's findings, and on to what is wrong within it."""
    path, found = _furthest(error)[0]
    within = getattr(found.get("ctx", {}).get("error"), "at", ())
    return () if path and isinstance(path[0], int) else (*path, *within)


def explain(error: ValidationError, cls: type) -> str:
    """Put pydantic's findings into sentences: field, what is wrong, what was given, what was perhaps meant."""
    lines: list[str] = []
    for path, found in _furthest(error):
        if path and isinstance(path[0], int):  # pydantic counts positional arguments
            known = tuple(field.name for field in dataclasses.fields(cls) if not field.kw_only)
            if path[0] >= len(known):
                lines.append(f"{cls.__name__}: takes at most {len(known)} arguments ({', '.join(known)})")
                continue
            path = (known[path[0]], *path[1:])
        where = ".".join([cls.__name__, *(str(part) for part in path)])
        if found["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            lines.append(f"{where}: {no_field(_owner(cls, path[:-1]), str(path[-1]))}")
        elif found["type"] in ("missing", "missing_argument"):
            lines.append(f"{where}: is required")
        else:
            message = found["msg"]
            if found["type"] == "value_error":  # raised by one of our own checks, a whole sentence
                lines.append(f"{where}: {message.removeprefix('Value error, ')}")
            else:
                lines.append(f"{where}: {worded(message)}, got {found['input']!r}")
    return "; ".join(dict.fromkeys(lines))


def _furthest(error: ValidationError) -> list[tuple[tuple[int | str, ...], Any]]:
    """Return pydantic's findings with their paths; of a field that may be one of several, what came furthest.

    Pydantic tells of all and names them in the path, as in ``evaluate_at``, ``tuple[...]``, ``0``.
    """
    deepest: dict[tuple[int | str, ...], int] = {}
    kept: dict[tuple[int | str, ...], Any] = {}
    for found in (errors := error.errors(include_url=False)):
        deepest[_field(found)] = max(len(_path(found)), deepest.get(_field(found), 0))
    for found in errors:
        path = _path(found)
        if len(path) == deepest[_field(found)]:
            other = f"{kept[path]['msg']} or {found['msg'].removeprefix('Input should be ')}" if path in kept else ""
            kept[path] = {**found, "msg": other or found["msg"]}
    return list(kept.items())


def _field(found: Any) -> tuple[int | str, ...]:
    """Return the path of the field that may be one of several; the whole path if there is none."""
    return tuple(itertools.takewhile(lambda part: "[" not in str(part), found["loc"]))


def _path(found: Any) -> tuple[int | str, ...]:
    return tuple(part for part in found["loc"] if "[" not in str(part))


def worded(message: str) -> str:
    """Return what pydantic says in the words of a study file, to stand behind a colon.

    >>> worded("Input should be a valid tuple")
    'input should be a list'
    """
    for theirs, ours in WORDS.items():
        message = message.replace(theirs, ours)
    return message[:1].lower() + message[1:]


def plain(value: Any) -> Any:
    """Return ``value`` as JSON-able data: specs become mappings of all their fields, tuples become lists.

    An object with a ``plain()`` method speaks for itself. Raises :class:`SpecError` for anything else that JSON
    cannot hold, so that nothing enters a fingerprint by its memory address.
    """
    value = native(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "plain"):
        return value.plain()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(entry) for entry in value]
    raise SpecError(f"{value!r} of type {type(value).__name__} cannot be part of a spec")
