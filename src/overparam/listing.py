"""What ``overparam list`` names: all that is registered, the studies that come with overparam, a store's results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overparam.constraints import CONSTRAINTS
from overparam.lab import Store, built_in_studies, parse_yaml
from overparam.lab.inventory import Inventory
from overparam.lab.record import records, studies
from overparam.lab.specification import differences
from overparam.loggers import LOGGERS
from overparam.networks import NETWORKS
from overparam.probes import PROBES
from overparam.prune import CRITERIA, PATTERNS, SCOPES
from overparam.registry import Registry
from overparam.steps import STEPS
from overparam.train import LOSSES, OPTIMISERS, SCHEDULES
from overparam.train.events import EVENTS
from overparam.worlds import DATASETS

REGISTRIES: dict[str, Registry[Any]] = {
    "datasets": DATASETS,
    "networks": NETWORKS,
    "criteria": CRITERIA,
    "scopes": SCOPES,
    "patterns": PATTERNS,
    "steps": STEPS,
    "probes": PROBES,
    "losses": LOSSES,
    "optimisers": OPTIMISERS,
    "schedules": SCHEDULES,
    "events": EVENTS,
    "constraints": CONSTRAINTS,
    "loggers": LOGGERS,
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
    inventory = Inventory(store)
    for record in found:
        changed = ", ".join(differences(record.spec, found[0].spec))
        yield str(record), record.extent(inventory) + (f"; differs from the newest in {changed}" if changed else "")
    for sentence in damaged:
        yield name, sentence
