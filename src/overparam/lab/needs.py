"""What of a store a study needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from overparam.lab.inventory import Inventory, Result
from overparam.lab.record import Record
from overparam.lab.store import DamagedError


def needed(record: Record, inventory: Inventory) -> set[Result]:
    """Return what a study needs, whether it is there or not: its steps, their failures, and its measurements.

    Raises:
        DamagedError: the record is from before it named all steps, and a step that leads to others is damaged, so that
            it cannot be told what came before.
    """
    measured = {name for row in record.rows for name in row["measurements"]}
    return needs_of(record.steps or _before({row["node"] for row in record.rows}, measured, inventory), measured)


def needs_of(steps: Collection[str], measured: Collection[str]) -> set[Result]:
    """Return the results that steps and measurements have, may have, or have failed with."""
    return {
        *(Result("steps", name) for name in steps),
        *(Result("failures", name) for name in steps),
        *(Result("probes", name) for name in measured),
    }


def _before(rows: Collection[str], measured: Collection[str], inventory: Inventory) -> set[str]:
    """Return steps with all those that they were made from, as far as they are there."""
    found: set[str] = set()
    new = [*rows, *(name for probe in measured for name in _parents("probes", probe, inventory))]
    while new:
        name = new.pop()
        if name not in found:
            found.add(name)
            new += _parents("steps", name, inventory)
    return found


def _parents(kind: str, fingerprint: str, inventory: Inventory) -> Iterator[str]:
    try:
        there = inventory.store.key(kind, fingerprint) in inventory.entries
        return parents_of(inventory.store.numbers(kind, fingerprint) if there else {})
    except DamagedError as damage:
        raise DamagedError(
            f"{damage}, so what it was made from is not known; run its study again, which repairs it"
        ) from None


def parents_of(numbers: Mapping[str, object]) -> Iterator[str]:
    """Yield the fingerprints of the steps that a result was made from, by its numbers."""
    for name in (numbers.get("parent"), numbers.get("checkpoint")):
        if isinstance(name, str):
            yield name
    references = numbers.get("references")
    for source in references.values() if isinstance(references, Mapping) else ():
        yield source["node"]
