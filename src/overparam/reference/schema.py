"""The JSON Schema of study files, for editors: which fields there are, what each takes and means.

It says what a file may look like, not all that a study may be: what depends on several fields is for ``overparam
check``. Numbers are those of YAML 1.2, as JSON's are: ``1e-3`` is one.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from overparam.errors import SpecError
from overparam.lab import Study
from overparam.lab.about import EDITIONS
from overparam.lab.experiment import NO_STEPS
from overparam.lab.parsing import FIELDS
from overparam.length import Length
from overparam.networks import NETWORKS, Network
from overparam.networks.architecture import GIVEN
from overparam.papers import paper_names
from overparam.probes import PROBES
from overparam.reference.annotations import flat
from overparam.reference.fields import REQUIRED, declared, words_of
from overparam.reference.kinds import CALLED_WITH
from overparam.registry import Registry
from overparam.spec import plain
from overparam.steps import STEPS
from overparam.worlds import DATASETS, World

Schema = dict[str, Any]

ANYTHING: Schema = {}
OWN: Schema = {"type": "string", "pattern": ":", "description": "one's own, as package.module:name"}
LENGTH = r"^\s*\d+(\.\d+)?([eE]\d+)?\s*([eE][pP]|[iI][tT])\s*$"  # as overparam.length reads it
PLAIN: dict[Any, Schema] = {
    **{bool: {"type": "boolean"}, int: {"type": "integer"}, float: {"type": "number"}, str: {"type": "string"}},
    **{type(None): {"type": "null"}, Length: {"type": ["number", "string"], "minimum": 0, "pattern": LENGTH}},
}
LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def study_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a study file, made of the registries and specs there are."""
    made = _Maker()
    whole = made.study()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "a study of overparam"}
    return {**head, **whole, "$defs": dict(sorted(made.definitions.items()))}


class _Maker:
    """Makes schemas; those that are needed in several places are defined once and referred to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def study(self) -> Schema:
        """Return the schema of the whole file."""
        words, own = words_of(Study), self._own_fields()
        fields = {name: {**own.get(name, PLAIN[str]), "description": words.get(name, name)} for name in FIELDS}
        settings = {name: self._defined(f"step {name}", self._step(name)) for name in STEPS}
        return {
            "type": "object",
            "properties": {**fields, **settings},
            "patternProperties": {":": {"type": "object"}},
            "additionalProperties": False,
            "required": ["name", "world", "network", "chain"],
        }

    def _own_fields(self) -> dict[str, Schema]:
        """Return the schemas of the fields of a study that are no text."""
        return {
            "name": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"},
            "world": _any(self._thing(DATASETS), self._defined("world", self._world)),
            "network": self._network(),
            "chain": self._defined("chain", self._chain),
            "seed": {"type": "integer", "minimum": 0},
            "sweep": _by_path(_values()),
            "variants": {"type": "object", "minProperties": 1, "additionalProperties": _variant()},
            "probes": {"type": "array", "items": self._thing(PROBES)},
            "engine": {"enum": ["auto", "dense", "sparse"]},
            "device": {"type": "string", "pattern": r"^(auto|cpu|mps|cuda(:\d+)?)$"},
            "paper": {"enum": ["", *paper_names()]},
            "edition": {"enum": list(EDITIONS)},
            "laptop_minutes": {"type": "number", "exclusiveMinimum": 0},
        }

    def _defined(self, name: str, make: Callable[[], Schema]) -> Schema:
        """Return a reference to a schema, which is made unless it is there or under way."""
        key = name.replace(" ", "-")
        if key not in self.definitions:
            self.definitions[key] = ANYTHING
            self.definitions[key] = make()
        return {"$ref": f"#/$defs/{key}"}

    def _world(self) -> Schema:
        """Return a world's schema; its dataset may also be a folder of images, which is no registered thing."""
        made = self._fields(World)
        images = {"type": "object", "properties": {"path": PLAIN[str]}, "required": ["path"]}
        dataset = {**made["properties"]["dataset"], **_any(self._thing(DATASETS), images)}
        return {**made, "properties": {**made["properties"], "dataset": dataset}}

    def _network(self) -> Schema:
        """Return a network's schema: a name, or a mapping of name, init and options, or of options by name."""
        init = {name: kind for name, kind, _ in declared(Network)}["init"]
        beside = [self._options(name, {"name": {"const": name}, "init": self.of(init)}) for name in NETWORKS]
        own = {"type": "object", "properties": {"name": OWN}, "required": ["name"]}
        return _any(self._thing(NETWORKS), *beside, own)

    def _options(self, name: str, beside: Mapping[str, Schema]) -> Schema:
        """Return the schema of a network's options and what stands beside them."""
        found = self._fields(NETWORKS.get(name), GIVEN)
        return {**found, "properties": {**beside, **found["properties"]}, "required": ["name"]}

    def _chain(self) -> Schema:
        """Return the schema of a list of steps, repeats and branches."""
        steps = {"$ref": "#/$defs/chain"}
        nested = [
            _object({"repeat": {"type": "integer", "minimum": 0}, "steps": steps}),
            _object({"branch": {"type": "string"}, "steps": steps}),
        ]
        named = {name: self._of_chain(name) for name in STEPS}
        one = {**_one_of(named), "description": "a step with fields of its own, or the value of its main field"}
        return {"type": "array", "minItems": 1, "items": _any({"enum": list(STEPS)}, OWN, *nested, one)}

    def _of_chain(self, name: str) -> Schema:
        """Return what a step may be given in a chain: fields, nothing, or the value of its main field."""
        cls = STEPS.get(name)
        main = [self.of(kind) for field, kind, _ in declared(cls) if field == cls.main]
        return _any({"type": "null"}, self._defined(f"step {name}", self._step(name)), *main)

    def _step(self, name: str) -> Callable[[], Schema]:
        """Return what makes the schema of a step's settings, none of which is required: a chain may give it."""

        def make() -> Schema:
            return {**self._fields(STEPS.get(name), needed=False), "description": STEPS.summary(name)}

        return make

    def of(self, annotation: Any, metadata: Iterable[Any] = ()) -> Schema:
        """Return the schema of what an annotation allows, with pydantic's limits in its ``metadata``."""
        if typing.get_origin(annotation) is typing.Annotated:
            inner, *more = typing.get_args(annotation)
            return self.of(inner, (*more, *metadata))
        found = flat(metadata)
        registry = next((each for each in found if isinstance(each, Registry)), None)
        if registry is not None:
            return _any({"type": "null"}, self._thing(registry))
        return {**(PLAIN.get(annotation) or self._made_of(annotation)), **_limits(found)}

    def _made_of(self, annotation: Any) -> Schema:
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Literal:
            return {"enum": list(args)}
        if origin in (typing.Union, types.UnionType):
            return _any(*(self.of(each) for each in args))
        if isinstance(origin, type) and issubclass(origin, tuple | list | Sequence):
            return self._list(args)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(args[1])}
        return self._spec(annotation) if hasattr(annotation, "__pydantic_fields__") else ANYTHING

    def _list(self, args: Sequence[Any]) -> Schema:
        kinds = [self.of(each) for each in args if each is not ...]
        if len(kinds) == 1:
            return {"type": "array", "items": kinds[0]}
        return {"type": "array", "prefixItems": kinds, "minItems": len(kinds), "maxItems": len(kinds)}

    def _spec(self, cls: type) -> Schema:
        return self._defined(cls.__name__, lambda: self._fields(cls))

    def _thing(self, registry: Registry[Any]) -> Schema:
        """Return the schema of what may stand for a thing of a kind: a name, one's own, or one of these with fields."""

        def make() -> Schema:
            named = {name: _any({"type": "null"}, self._fields(registry.get(name), CALLED_WITH)) for name in registry}
            names = {"enum": registry.names(), "description": f"a {registry.kind}"}
            return _any(names, OWN, _one_of(named, other={"type": ["object", "null"]}))

        return self._defined(registry.kind, make)

    def _fields(self, thing: Any, given: Collection[str] = (), needed: bool = True) -> Schema:
        """Return the schema of a mapping of a thing's fields; functions are called with those in ``given``."""
        if not isinstance(thing, type) and not callable(thing):
            return {"type": "object", "maxProperties": 0}
        words, known = words_of(thing), [each for each in declared(thing) if each[0] not in given]
        required = [name for name, _, default in known if default is REQUIRED] if needed else []
        fields = {name: _told(self.of(kind), words.get(name), default) for name, kind, default in known}
        return {**_object(fields), "required": required}


def _told(schema: Schema, words: str | None, default: Any) -> Schema:
    """Return the schema of a field with what it means and its default, as far as JSON can hold that."""
    made = {**schema, **({"description": words} if words else {})}
    try:
        return made if default is REQUIRED else {**made, "default": plain(default)}
    except SpecError:
        return made


def _any(*schemas: Schema) -> Schema:
    return ANYTHING if ANYTHING in schemas else {"anyOf": list(schemas)}


def _object(fields: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(fields), "additionalProperties": False, "required": list(fields)}


def _one_of(named: Mapping[str, Schema], other: Schema | None = None) -> Schema:
    """Return the schema of a mapping with one key, which is a name or an import path."""
    own = {":": other if other is not None else ANYTHING}
    made = {"type": "object", "properties": dict(named), "patternProperties": own, "additionalProperties": False}
    return {**made, "minProperties": 1, "maxProperties": 1}


def _values() -> Schema:
    """Return the schema of swept values: listed, a range, or of equal ratios."""
    number = {"type": "number"}
    forms = [
        _object({"range": {"type": "array", "items": number, "minItems": 2, "maxItems": 3}}),
        _object({"log": {"type": "array", "items": number, "minItems": 3, "maxItems": 3}}),
    ]
    return _any({"type": "array", "minItems": 1}, *forms)


def _variant() -> Schema:
    own = _by_path(_any({"type": "null"}, _values()))
    return _any({"type": "null"}, {**_by_path(ANYTHING), "properties": {"sweep": own}})


def _by_path(schema: Schema) -> Schema:
    """Return the schema of a mapping from dotted paths, which begin with a part of the document or a step's name."""
    heads = "|".join(re.escape(head) for head in (*NO_STEPS, *STEPS))
    return {"type": "object", "patternProperties": {rf"^({heads})(\.|$)|:": schema}, "additionalProperties": False}


def _limits(metadata: Iterable[Any]) -> Schema:
    return {theirs: getattr(each, ours) for each in metadata for ours, theirs in LIMITS.items() if hasattr(each, ours)}
