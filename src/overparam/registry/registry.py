"""The one resolver: from a name, fields, an import path, a plug-in or an object to the thing that is meant."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from pydantic_core import core_schema

from overparam.errors import SpecError, in_words, suggest
from overparam.registry.importing import check_form, import_path
from overparam.registry.plug_ins import PlugIn, plug_in, plug_ins
from overparam.spec import plain

T = TypeVar("T")
Named = TypeVar("Named")


class Registry(Generic[T]):
    """A table of named things of one kind, in the order in which they were registered, and all that may stand for one.

    What is registered (or offered by a plug-in, or stands at an import path) is a class, which is made with the fields
    that are given, or a function or an object, which is the thing itself; fields of a function become its keywords.

    As an annotation it checks a field of a spec: ``criterion: Annotated[Any, CRITERIA]``.

    >>> criteria = Registry("criterion")
    >>> criteria.register("magnitude", abs)
    >>> criteria.resolve("magnitude")
    <built-in function abs>
    >>> criteria.resolve("magnitud")
    Traceback (most recent call last):
    ...
    overparam.errors.SpecError: unknown criterion 'magnitud'; did you mean 'magnitude'? (known: magnitude; your own \
as 'package.module:name')

    Args:
        kind: what the things are; packages offer theirs as entry points of the group ``overparam.KIND``.
        wanted: what a thing must be, in words that go on from "must be".
        fits: tells whether an object is such a thing.
        made: whether a class is a way to make a thing; else, as for networks, it is one.
    """

    def __init__(
        self,
        kind: str,
        wanted: str = "a function or an object that can be called",
        fits: Callable[[Any], bool] = callable,
        made: bool = True,
    ) -> None:
        self.kind, self.wanted, self._fits, self._made = kind, wanted, fits, made
        self._things: dict[str, Any] = {}
        self._adapt: Callable[[Any, Mapping[str, Any]], T | None] = lambda thing, fields: None
        self._long: Callable[[str], tuple[str, Mapping[str, Any]] | None] = lambda given: None

    def adapt(self, change: Callable[[Any, Mapping[str, Any]], T | None]) -> None:
        """Let ``change`` make a thing of what is none yet, such as a class of another library, and its fields."""
        self._adapt = change

    def abbreviate(self, long: Callable[[str], tuple[str, Mapping[str, Any]] | None]) -> None:
        """Let ``long`` say which name and fields a text such as ``2:4`` is short for, or None."""
        self._long = long

    def register(self, name: str, thing: Any) -> None:
        """Add ``thing`` under ``name``; a name can be given once only."""
        if name in self._things:
            raise SpecError(f"{self.kind} {name!r} is registered already; choose another name")
        self._things[name] = thing

    def named(self, name: str) -> Callable[[Named], Named]:
        """Decorator form of :meth:`register`."""

        def add(thing: Named) -> Named:
            self.register(name, thing)
            return thing

        return add

    def get(self, name: str) -> Any:
        """Return what is registered under ``name``, offered by a plug-in of that name, or stands at that import path.

        Classes are not made. A registered name goes before that of a plug-in. Raises :class:`SpecError`, with a
        suggestion, if there is no such thing or it cannot be imported.
        """
        if name in self._things:
            return self._things[name]
        return import_path(self._path(name), self.kind)

    def _path(self, name: str) -> str:
        """Return the import path that a name without an entry is or stands for."""
        if ":" in name:
            check_form(name, self.kind)
            return name
        offered = plug_in(self.kind, name)
        if offered is None:
            raise SpecError(
                f"unknown {self.kind} {name!r}{suggest(name, self.names())} (known: {', '.join(self.names())}; "
                "your own as 'package.module:name')"
            )
        return offered.path

    def resolve(self, given: Any) -> T:
        """Return the finished thing that ``given`` means.

        Args:
            given: a registered name, a plug-in's name or an import path ``package.module:name``; one of these with
                fields, ``{name: {fields}}``; or an object or function, which is the thing itself, or a class of such.

        Raises:
            SpecError: there is no such thing, it cannot be imported or made, or it is of another kind.
        """
        name, fields = self._parts(given)
        thing = given if name is None else self.get(name)
        return self._finished(thing, fields, name)

    def checked(self, given: Any) -> Any:
        """Return ``given`` as a study file has it, if it may mean a thing: ``name`` or ``{name: {fields}}``.

        No import path is followed and no plug-in imported: that is for :meth:`resolve`. What has no name, such as an
        object of one's own, is returned as it is. Raises :class:`SpecError` as :meth:`resolve` does.
        """
        name, fields = self._parts(given)
        if name is None:
            return self.written(self._finished(given, fields, None))
        if name in self._things:
            made = self._finished(self._things[name], fields, name)
            return self.written(made) if _fields(made) else _with(name, fields)
        self._path(name)
        return _with(name, fields)

    def written(self, thing: Any) -> Any:
        """Return a thing as a study file has it: its name, with the fields that are not as by default; or itself."""
        name = self.name_of(thing)
        return thing if name is None else _with(name, plain(_changed(thing)))

    def name_of(self, thing: Any) -> str | None:
        """Return the name under which a thing, its class or the function it calls is registered; None if under none."""
        core = _core(thing)
        found = (name for name, each in self._things.items() if each is core or each is type(core))
        return next(found, None)

    def identity(self, given: Any) -> Any:
        """Return what the thing that ``given`` means is, JSON-able, for fingerprints.

        Of what comes with overparam its name and all of its fields, of what is a user's own all that it is made of,
        however it was named. A method ``parameters()`` of an object may say what its fields mean.
        """
        from overparam.identity import comes_with_overparam, identity_of  # torch takes seconds to import

        thing = self.resolve(given)
        name = self.name_of(thing)
        if name is None or not comes_with_overparam(_core(thing)):
            inner = plain(_known(thing))  # by its name, the digest of a thing does not tell what it is made of
            return {**identity_of(thing), **({"fields": inner} if inner else {})}
        return _with(name, plain(_values(thing)))

    def names(self) -> list[str]:
        """Return the names of what is registered and of what plug-ins offer."""
        return list(dict.fromkeys([*self._things, *(each.name for each in plug_ins(self.kind))]))

    def knows(self, name: str) -> bool:
        """Tell whether a name is that of a thing, or an import path, at which there may be one."""
        return ":" in name or name in self._things or plug_in(self.kind, name) is not None

    def label(self, given: Any) -> str:
        """Return what ``given`` is called in a table: its name or import path, or that of its class or function."""
        written = self.checked(given)
        name, _ = self._parts(written)
        return name or str(getattr(written, "__name__", type(written).__name__))

    def _parts(self, given: Any) -> tuple[str | None, Mapping[str, Any]]:
        """Return the name, if ``given`` has one, and the fields that stand beside it."""
        if isinstance(given, str):
            return self._long(given) or (given, {})
        if not isinstance(given, Mapping):
            return None, {}
        if len(given) != 1:
            form = f"{{name: {{fields}}}}, with one name, got {len(given)} keys ({', '.join(map(str, given))})"
            raise SpecError(f"a {self.kind} with fields is written {form}")
        ((name, fields),) = given.items()
        if not isinstance(fields or {}, Mapping):
            raise SpecError(f"{self.kind} {name} takes a mapping of its fields, got {fields!r}")
        return str(name), {str(key): value for key, value in (fields or {}).items()}

    def _finished(self, thing: Any, fields: Mapping[str, Any], name: str | None) -> T:
        """Make of what was found under a name, with its fields, the thing itself."""
        label = f"{self.kind} {name or getattr(thing, '__name__', type(thing).__name__)!r}"
        if (adapted := self._adapt(thing, fields)) is not None:
            return adapted
        if isinstance(thing, type) and self._made:
            thing = self._called(thing, fields, label)
        elif fields:
            if not inspect.isroutine(thing) and not isinstance(thing, type):
                raise SpecError(f"{label} takes no fields, got {', '.join(fields)}")
            _check_keywords(thing, fields, label)
            thing = functools.partial(thing, **fields)
        if not self._fits(thing):
            one_of = f"one of {', '.join(self._things)}, an import path 'package.module:name', or "
            raise SpecError(
                f"{label if name else self.kind} must be {'' if name else one_of}{self.wanted}, got {thing!r}"
            )
        return cast(T, thing)

    def _called(self, cls: type, fields: Mapping[str, Any], label: str) -> Any:
        _check_keywords(cls, fields, label)
        try:
            return cls(**fields)
        except SpecError:
            raise
        except Exception as error:  # the user's own code may raise anything
            raise SpecError(f"{label} cannot be made: {in_words(error)}") from error

    def listed(self) -> list[tuple[str, str]]:
        """Return each name with a line on it, those that plug-ins offer included."""
        own = [(name, self.summary(name)) for name in self._things]
        return own + [(each.name, self._offered(each)) for each in plug_ins(self.kind)]

    def _offered(self, offered: PlugIn) -> str:
        if offered.name in self._things:
            return f"hidden, as overparam's own has this name: write '{offered.path}' ({offered.package})"
        try:
            return f"{first_line(import_path(offered.path, self.kind))} ({offered.package})"
        except SpecError as error:
            return f"cannot be used: {error} ({offered.package})"

    def summary(self, name: str) -> str:
        """Return one line on what ``name`` is: the first line of its docstring."""
        return first_line(self.get(name))

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Let pydantic check a field with :meth:`checked`."""
        return core_schema.no_info_plain_validator_function(self.checked)

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)


def first_line(thing: Any) -> str:
    """Return the first line of a thing's docstring."""
    return (thing.__doc__ or "").strip().split("\n")[0]


def identified(thing: Any, skipped: Sequence[str] = ()) -> dict[str, Any]:
    """Return the fields of a spec object but those ``skipped``, a thing that a registry knows by its identity."""
    values = {field.name: getattr(thing, field.name) for field in _fields(thing) if field.name not in skipped}
    known = _known(thing)
    return {name: known.get(name, value) for name, value in values.items()}


def _known(thing: Any) -> dict[str, Any]:
    """Return the identities of the things that the fields of a spec object name, by field; those in tuples as lists."""
    found: dict[str, Any] = {}
    for name, info in getattr(type(thing), "__pydantic_fields__", {}).items():
        value = getattr(thing, name)
        if value is not None and (registry := _in_metadata(info.metadata)) is not None:
            found[name] = registry.identity(value)
        elif isinstance(value, tuple) and (registry := _in_annotation(info.annotation)) is not None:
            found[name] = [registry.identity(each) for each in value]
    return found


def _in_metadata(metadata: Sequence[Any]) -> Registry[Any] | None:
    return next((each for each in metadata if isinstance(each, Registry)), None)


def _in_annotation(annotation: Any) -> Registry[Any] | None:
    """Return the registry that checks the entries of a tuple so annotated."""
    inner = (_in_metadata(getattr(each, "__metadata__", ())) for each in typing.get_args(annotation))
    return next((each for each in inner if each is not None), None)


def _with(name: str, fields: Mapping[str, Any]) -> Any:
    """Return a name with its fields as a study file has it."""
    return {name: dict(fields)} if fields else name


def _core(thing: Any) -> Any:
    """Return the function that a thing with fields calls, or the thing."""
    return thing.func if isinstance(thing, functools.partial) else thing


def _fields(thing: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(thing) if dataclasses.is_dataclass(thing) and not isinstance(thing, type) else ()


def _values(thing: Any) -> dict[str, Any]:
    """Return the fields of a thing with their values."""
    if isinstance(thing, functools.partial):
        return dict(thing.keywords)
    return dict(thing.parameters()) if hasattr(thing, "parameters") and _fields(thing) else identified(thing)


def _changed(thing: Any) -> dict[str, Any]:
    """Return the fields of a thing that are not as by default."""
    if isinstance(thing, functools.partial):
        return dict(thing.keywords)
    values = {field: getattr(thing, field.name) for field in _fields(thing)}
    return {field.name: value for field, value in values.items() if not _is_default(field, value)}


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return bool(value == field.default)


def _check_keywords(thing: Callable[..., Any], fields: Mapping[str, Any], label: str) -> None:
    """Raise :class:`SpecError` if ``thing`` cannot be called with ``fields``; specs say it better themselves."""
    if hasattr(thing, "__pydantic_fields__"):
        return
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):  # such as a class written in C: its call will tell
        return
    known = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters)
    for name in fields:
        if name not in known and not open_ended:
            raise SpecError(
                f"{label} has no field {name!r}{suggest(name, known)} (known: {', '.join(known) or 'none'})"
            )
    if isinstance(thing, type):
        needed = [each.name for each in parameters if each.default is each.empty and each.name in known]
        if missing := [name for name in needed if name not in fields]:
            raise SpecError(f"{label} needs the field {missing[0]!r}; give it as {{name: {{{missing[0]}: ...}}}}")
