"""Whether what was made elsewhere has the form of what overparam writes, so that nothing stumbles over it later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from overparam.errors import SpecError
from overparam.lab.dialect import parse_yaml
from overparam.registry.importing import FORM

Print = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Cell = bool | Whole | float | str | None
STRICT = ConfigDict(strict=True)


@with_config(STRICT)
class Source(TypedDict):
    """Where a checkpoint that was named comes from."""

    node: Print


@with_config(STRICT)
class Tensors(TypedDict):
    """What is told of weights."""

    bytes: Count
    checksum: Print


@with_config(STRICT)
class Facts(TypedDict):
    """What was measured of a step, and more."""

    seconds: float


@with_config(STRICT)
class Recipe(TypedDict):
    """What rebuilds a network."""

    network: dict[str, Any]
    form: dict[str, Any]


@with_config(STRICT)
class Step(TypedDict):
    """The numbers of a step."""

    title: str
    step: str
    parameters: dict[str, Any]
    parent: Print | None
    references: dict[str, Source]
    seed: Whole
    network: Recipe | None
    kept: Count
    weights: Count
    facts: Facts
    made: str
    machine: dict[str, str]
    curve: dict[str, list[Whole | float | None]]
    tensors: dict[str, Tensors]


@with_config(STRICT)
class Probe(TypedDict):
    """The numbers of a measurement."""

    probe: str
    parameters: dict[str, Any]
    checkpoint: Print
    references: dict[str, Source]
    values: dict[str, Cell]
    layers: dict[str, dict[str, Cell]]


@with_config(STRICT)
class Failure(TypedDict):
    """A step that failed."""

    title: str
    seed: Whole
    reason: str
    detail: str


@with_config(STRICT)
class Row(TypedDict):
    """A row of a record."""

    variant: str
    seed: Whole
    coordinates: dict[str, Cell]
    chain: Count
    level: Count
    step: Whole
    kind: str
    node: Print
    measurements: list[Print]
    about: dict[str, Cell]


@with_config(STRICT)
class About(TypedDict, total=False):
    """What a study says of itself."""

    axis: str
    paper: str
    edition: str
    laptop_minutes: float | None


@with_config(STRICT)
class Record(TypedDict, total=False):
    """The record of a study."""

    name: Required[str]
    spec: Required[str]
    rows: Required[Annotated[list[Row], Field(min_length=1)]]
    steps: list[Print]
    about: Required[About]
    columns: Required[dict[str, Literal["float", "int", "str"]]]
    layer_columns: Required[dict[str, Literal["float", "int", "str"]]]
    failures: Required[list[list[str]]]
    run: Required[str]
    written: Required[Annotated[float, Field(ge=0, lt=1e11)]]


FORMS: Mapping[str, Any] = {"steps": Step, "probes": Probe, "failures": Failure, "studies": Record}


@cache
def _form(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(FORMS[kind])


def check_body(kind: str, body: Mapping[str, Any]) -> None:
    """Raise :class:`ValueError` unless a body has the form that those of its kind in :data:`FORMS` have."""
    try:
        _form(kind).validate_python(body)
        if kind == "studies" and not isinstance(parse_yaml(body["spec"], "its specification"), dict):
            raise ValueError("its specification is no mapping")
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except SpecError as error:
        raise ValueError(str(error)) from None


def code_named(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the import paths in the recipe of a step's network, which rebuilding it would import and call."""
    yield from _paths(body.get("network"))


def code_in_weights(content: bytes) -> Iterator[str]:
    """Yield the import paths of constraints in stored weights, which reading them would import.

    Raises:
        ValueError: they are no safetensors with overparam's facts.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    yield from _paths(json.loads(header["__metadata__"]["overparam"])["constraints"])


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _paths(entry)
    elif isinstance(value, str) and FORM.fullmatch(value):
        yield value
