"""What ``overparam list`` names: all that is registered, the studies that come with overparam, a store's results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overparam.lab import Store, built_in_studies, parse_yaml
from overparam.lab.record import Record, records, studies
from overparam.networks import NETWORKS
from overparam.probes import PROBES
from overparam.prune import CRITERIA, SCOPES
from overparam.registry import Registry
from overparam.steps import STEPS
from overparam.worlds import DATASETS

REGISTRIES: dict[str, Registry[Any]] = {
    "datasets": DATASETS,
    "networks": NETWORKS,
    "criteria": CRITERIA,
    "scopes": SCOPES,
    "steps": STEPS,
    "probes": PROBES,
}


def entries(kind: str, store: Path) -> list[tuple[str, str]]:
    """Return the names of a kind of things, with a line on each; ``store`` is looked at for ``results``."""
    if kind == "results":
        opened = Store(store, reading=True)
        return [line for name in studies(opened) for line in _revisions(opened, name)]
    if kind == "studies":
        return [(n, str(parse_yaml(t, n).get("description", "")).strip()) for n, t in built_in_studies().items()]
    return REGISTRIES[kind].listed()


def _revisions(store: Store, name: str) -> Iterator[tuple[str, str]]:
    found, damaged = records(store, name)
    for record in found:
        changed = ", ".join(differences(record, found[0]))
        yield str(record), record.extent(store) + (f"; differs from the newest in {changed}" if changed else "")
    for sentence in damaged:
        yield name, sentence


def differences(one: Record, other: Record) -> list[str]:
    """Return the dotted paths at which the specifications of two records differ."""
    first, second = (dict(_leaves(parse_yaml(record.spec, str(record)))) for record in (one, other))
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
