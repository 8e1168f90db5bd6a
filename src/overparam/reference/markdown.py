"""Docstrings and fields as Markdown: roles become links, doctests blocks of code, references of papers links."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from overparam.errors import SpecError
from overparam.reference.fields import REQUIRED, Field
from overparam.spec import plain

Targets = Callable[[str], str | None]
"""Returns the link to what a dotted name of a docstring means, or None."""

_ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`(~?)([\w.]+)`")
_CODE = re.compile(r"``([^`]+)``")
_PAPER = re.compile(r"(?<![/\w])arXiv:(\d{4}\.\d{4,5})")
_DOCTEST = re.compile(r"(^>>> .*\n(?:(?!\n).+\n?)*)", re.MULTILINE)


def prose(text: str, targets: Targets) -> str:
    """Return a text in the form of docstrings as Markdown."""
    parts = _DOCTEST.split(text + "\n")
    made = [_block(part) if place % 2 else _running(part, targets) for place, part in enumerate(parts)]
    return "\n\n".join(part.strip("\n") for part in made if part.strip())


def _block(doctest: str) -> str:
    return f"```pycon\n{doctest.rstrip()}\n```"


def _running(text: str, targets: Targets) -> str:
    """Return text outside of code blocks; what stands in code is not touched."""
    text = _ROLE.sub(lambda role: _linked(role, targets), text)
    text = re.sub(r"(?<=\S)::$", ":", text, flags=re.MULTILINE)
    pieces = re.split(r"(``[^`]+``|`[^`]+`)", text)
    return "".join(_CODE.sub(r"`\1`", piece) if place % 2 else _escaped(piece) for place, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    text = text.replace("<", "&lt;").replace("*", r"\*").replace("|", r"\|")
    return _PAPER.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _linked(role: re.Match[str], targets: Targets) -> str:
    shown = role[2].rpartition(".")[2] if role[1] else role[2]
    target = targets(role[2])
    return f"[`{shown}`]({target})" if target else f"`{shown}`"


def field_list(fields: Iterable[Field], owner: str, targets: Targets, linked: Mapping[str, str] | None = None) -> str:
    """Return fields as a list of definitions; each can be linked to as ``#OWNER.FIELD``."""
    return "\n\n".join(_definition(field, owner, targets) for field in fields)


def _definition(field: Field, owner: str, targets: Targets) -> str:
    said = prose(field.words, targets) if field.words else ""
    return (
        f'<span id="{owner}.{field.name}">`{field.name}`</span> {_values(field)}{usually(field.default)}\n\n:   {said}'
    )


def _values(field: Field) -> str:
    """Return what values a field takes, where its type says so, to stand before its default."""
    return "· " if field.values == "anything" else f"{field.values} · "


def usually(default: Any) -> str:
    """Return what a field is when it is left out."""
    return "**required**" if default is REQUIRED else f"default `{shown(default)}`"


def shown(value: Any) -> str:
    """Return a value as a study file has it; a function by its name."""
    try:
        return flow(plain(value))
    except SpecError:
        return str(getattr(value, "__name__", value))


def flow(value: Any) -> str:
    """Return JSON-able data in YAML's form of one line.

    >>> flow({"lr": 0.1, "milestones": [30, 45], "at": "500it", "of": "2:4", "norm": None})
    '{lr: 0.1, milestones: [30, 45], at: 500it, of: "2:4", norm: null}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z][\w./+-]*|\d+(ep|it)", value) else json.dumps(value)
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def python(value: Any) -> str:
    """Return JSON-able data as a Python expression, text in double quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {python(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(python, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def fields_only(thing: Any) -> bool:
    """Tell whether a class is but its fields."""
    return dataclasses.is_dataclass(thing) and isinstance(thing, type)
