"""From what a study file or a script gives to what a study holds; whatever is wrong is told by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overparam.errors import SpecError, within
from overparam.lab.ranges import listed
from overparam.probes import PROBES, Probe
from overparam.registry import suggest
from overparam.spec import check_field
from overparam.steps import STEPS

FIELDS = (
    *("name", "description", "world", "network", "chain", "seed", "sweep", "variants", "probes", "engine", "device"),
    *("axis", "paper", "edition", "laptop_minutes"),
)


def fields_of(given: Any, source: str = "") -> dict[str, Any]:
    """Return the arguments of a study that a mapping from ``source`` holds; raises :class:`SpecError`."""
    if not isinstance(given, Mapping):
        raise SpecError(f"{source or 'a study'} must hold a mapping with the fields {', '.join(FIELDS)}, got {given!r}")
    allowed = [*FIELDS, *STEPS.names()]
    for key in given:
        if key not in allowed and ":" not in str(key):
            said = f"no such field {key!r}{suggest(str(key), allowed)} (known: {', '.join(allowed)})"
            raise SpecError(f"{source}: {said}" if source else said, (key,))
    missing = [key for key in ("name", "world", "network", "chain") if given.get(key) is None]
    if missing:
        said = f"{missing[0]} is required"
        raise SpecError(f"{source}: {said}" if source else said, (missing[0],))
    return {key: value for key, value in given.items() if value is not None}


def settings_from(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return settings by the name of their step; raises :class:`SpecError` for another, or a field that it has not."""
    settings = {}
    for keyword, fields in given.items():
        name = _step_name(keyword)
        if not STEPS.knows(name):
            allowed = [*FIELDS, *STEPS.names()]
            raise SpecError(f"study has no field {keyword!r}{suggest(keyword, allowed)} (known: {', '.join(allowed)})")
        if not isinstance(fields, Mapping):
            raise SpecError(f"{keyword} must be a mapping of settings, got {fields!r}", (keyword,))
        for field in fields:
            with within(keyword, str(field)):
                check_field(STEPS.get(name), str(field), f"{name}.{field}")
        settings[name] = dict(fields)
    return settings


def sweep_from(given: Any) -> dict[str, list[Any]]:
    """Return swept values by dotted path, ranges written out (:func:`listed`); raises :class:`SpecError`."""
    if not isinstance(given or {}, Mapping):
        raise SpecError(f"sweep must map dotted paths to lists of values, got {given!r}", ("sweep",))
    swept = {}
    for path, values in (given or {}).items():
        with within("sweep", str(path)):
            swept[str(path)] = listed(values, f"sweep.{path}")
    return swept


def variants_from(given: Any) -> dict[str, dict[str, Any]]:
    """Return the changes of each variant by dotted path, its own ``sweep`` among them; raises :class:`SpecError`."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not given:
        raise SpecError(f"variants must map names to changes by dotted path, got {given!r}", ("variants",))
    for name, changes in given.items():
        if changes is not None and not isinstance(changes, Mapping):
            said = f"variants.{name} must be a mapping of dotted paths to values, got {changes!r}"
            raise SpecError(said, ("variants", str(name)))
    return {str(name): _variant(str(name), changes or {}) for name, changes in given.items()}


def _variant(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    own = {str(path): value for path, value in changes.items()}
    if "sweep" in own:
        try:
            kept = {str(path): None for path, values in own["sweep"].items() if values is None}
            own["sweep"] = sweep_from({path: v for path, v in own["sweep"].items() if v is not None}) | kept
        except (SpecError, AttributeError) as error:
            at = getattr(error, "at", ("sweep",))
            raise SpecError(f"variants.{name}.{error}", ("variants", name, *at)) from None
    return own


def probes_from(given: Any) -> tuple[Probe, ...]:
    """Return probes whose columns do not meet; raises :class:`SpecError`."""
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise SpecError(f"probes must be a list such as [accuracy, cost], got {given!r}", ("probes",))
    probes = tuple(_probe(each, place) for place, each in enumerate(given))
    columns = [(probe.kind, probe.suffix) for probe in probes]
    doubled = [kind for place, (kind, suffix) in enumerate(columns) if (kind, suffix) in columns[:place]]
    if doubled:
        raise SpecError(f"probes has {doubled[0]!r} twice; its columns would have two meanings", ("probes",))
    return probes


def _probe(given: Any, place: int) -> Probe:
    with within("probes", place):
        return PROBES.resolve(given)


def _step_name(keyword: str) -> str:
    """Return the name of a step that a keyword means: ``lr_rewind`` is ``lr-rewind``."""
    return keyword if ":" in keyword else keyword.replace("_", "-")
