"""What a study holds as a reader sees it: in YAML, and in the cells of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overparam.lab.chain import Branch, Chain, Repeat
from overparam.probes import Probe
from overparam.spec import field_names, native
from overparam.steps import STEPS, Step


def cell(value: Any) -> Any:
    """Return a value as a table can hold it."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(readable(value))


def readable(value: Any) -> Any:
    """Return ``value`` as YAML can show it; what only Python can hold is described."""
    value = native(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Chain):
        return [readable(step) for step in value.steps]
    if isinstance(value, Repeat):
        return {"repeat": value.times, "steps": [readable(step) for step in value.steps]}
    if isinstance(value, Branch):
        return {"branch": value.name, "steps": [readable(step) for step in value.steps]}
    if isinstance(value, Step):
        known = value.name in STEPS.names()
        fields = [key for key in field_names(type(value)) if not (known and key == "called")]
        changed = {key: readable(entry) for key in fields if (entry := getattr(value, key)) is not None and entry != ()}
        return {value.name if known else value.kind: changed}
    if isinstance(value, Probe):
        return {value.kind: readable(value.parameters())}
    if isinstance(value, Mapping):
        return {str(key): readable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | range):
        return [readable(entry) for entry in value]
    if hasattr(value, "plain"):
        return value.plain()
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return {name: readable(getattr(value, name)) for name in value.__dataclass_fields__} or type(value).__name__
    return getattr(value, "__qualname__", None) or f"a {type(value).__name__}"
