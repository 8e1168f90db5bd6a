"""Specifications, as YAML: what of one decides results, and where two differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from overparam.lab.about import About
from overparam.lab.dialect import parse_yaml
from overparam.lab.fingerprint import fingerprint

UNIMPORTANT = ("name", "description", "engine", "device", *(field.name for field in fields(About)))
"""What of a specification decides no result."""


def specification(spec: str) -> str:
    """Return the hash of what a study computes, given as YAML: 12 hexadecimal digits that change with no code.

    Two files of one meaning may have two: defaults that one of them spells out count.
    """
    document = parse_yaml(spec, "the study")
    return fingerprint({name: part for name, part in document.items() if name not in UNIMPORTANT})[:12]


def differences(one: str, other: str) -> list[str]:
    """Return the dotted paths at which two specifications differ, given as YAML."""
    return sorted(changes(one, other))


def changes(one: str, other: str) -> dict[str, tuple[Any, Any]]:
    """Return what two specifications, given as YAML, have at the dotted paths at which they differ; None: nothing."""
    first, second = (dict(_leaves(parse_yaml(spec, "a specification"))) for spec in (one, other))
    paths = dict.fromkeys([*first, *second])
    return {path: (a, b) for path in paths if (a := first.get(path)) != (b := second.get(path))}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
