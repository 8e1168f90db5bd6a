"""Records: which rows the table of a study has, kept in the store for each revision of the study.

A revision is named by the content of its rows: by all that decides results, and nothing that does not, such as the
description, the engine or the number of jobs. A changed study of the same name is another revision beside the first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from overparam.errors import SpecError, StoreError, counted, suggest
from overparam.lab.inventory import Inventory
from overparam.lab.store import DamagedError, Store

if TYPE_CHECKING:
    from overparam.probes import Probe
    from overparam.worlds import World

FOLDER = "studies/"
LENGTH = 12  # hexadecimal digits that name a revision
NUMBERS = (float, int, str)  # what a column of a probe may hold


@dataclass(frozen=True)
class Record:
    """One revision of a study, and how it was run last.

    Attributes:
        name: the study's name.
        spec: the study as YAML.
        rows: for each row of the table its coordinates, the fingerprint of its step and those of its measurements.
        steps: the fingerprints of all steps that the study takes, rows or not; none in a record from before they were.
        about: what the study says of itself beside what it computes (:class:`overparam.lab.about.About`).
        columns, layer_columns: the types of the columns that the study's probes state, ``float``, ``int`` or ``str``.
        failures: title and reason of each step that failed.
        run: how the last run went.
        written: when that was, in seconds since 1970; 0 before it is written.
        made: by which version of overparam it was run last, and at which commit of the user's own repository.
    """

    name: str
    spec: str
    rows: Sequence[Mapping[str, Any]]
    steps: Sequence[str] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    layer_columns: Mapping[str, str] = field(default_factory=dict)
    failures: Sequence[tuple[str, str]] = ()
    run: str = "under way, or stopped"
    written: float = 0.0
    made: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def revision(self) -> str:
        """The name of what decides the rows: the first digits of their fingerprint."""
        from overparam.lab.fingerprint import fingerprint  # NumPy; a record that is read has its name

        return fingerprint(self.rows)[:LENGTH]

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}"

    def present(self, inventory: Inventory, row: Mapping[str, Any]) -> bool:
        """Tell whether a row's step and all of its measurements are there, and were not found damaged."""
        return row["node"] in inventory.whole["steps"] and inventory.whole["probes"].issuperset(row["measurements"])

    def extent(self, inventory: Inventory) -> str:
        """Return in words how many of the rows are there, and when the study was run last."""
        found = sum(self.present(inventory, row) for row in self.rows)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.written))
        return f"{found} of {counted(len(self.rows), 'row')}, run {when}"

    def write(self, store: Store) -> None:
        """Replace this revision's record in ``store``; raises :class:`StoreError`."""
        store.replace(f"{FOLDER}{self}", {**asdict(self), "written": time.time()})


def studies(store: Store) -> list[str]:
    """Return the names of the studies that have a record in ``store``."""
    return sorted({title.partition("@")[0] for title in titles(store)})


def records(store: Store, name: str) -> tuple[list[Record], list[str]]:
    """Return the readable records of study ``name``, the last run first, and what is wrong with the others."""
    found, damaged = [], []
    for title in titles(store, f"{name}@"):
        try:
            if record := read_record(store, title):
                found.append(record)
        except DamagedError as damage:
            damaged.append(f"{damage}; run the study again to write it anew")
    return sorted(found, key=lambda record: -record.written), damaged


def titles(store: Store, start: str = "") -> list[str]:
    """Return the names of revisions, NAME@REVISION, that begin with ``start``."""
    keys = [key.removeprefix(FOLDER).split("/") for key in store.blobs.list(f"{FOLDER}{start}")]
    return list(dict.fromkeys(parts[0] for parts in keys if len(parts) == 2 and "@" in parts[0]))


def read_record(store: Store, title: str) -> Record | None:
    """Return the record of a revision, None if it has none; raises :class:`DamagedError`."""
    body = store.newest(f"{FOLDER}{title}")
    try:
        record = Record(**body) if body is not None else None
        if record is not None:
            record.__dict__["revision"] = title.partition("@")[2]  # to hash thousands of rows takes long
        return record
    except TypeError:
        raise DamagedError(f"the record of {title} is not what this overparam writes") from None


def chosen_record(
    store: Store, name: str, revision: str | None, inventory: Inventory | None = None
) -> tuple[Record, str, list[str]]:
    """Return the record of a revision, named by its first digits, or of the newest; what is shown; and damage found.

    Raises:
        StoreError: there is none such; the message names those there are.
    """
    found, damaged = records(store, name)
    inventory = inventory or Inventory(store)
    if not found and damaged:
        raise StoreError(damaged[0])
    if not found:
        known = studies(store)
        have = f"it has: {', '.join(known)}" if known else "it has none"
        raise StoreError(
            f"store {str(store.root)!r} has no study {name!r}{suggest(name, known)} ({have}); run it first"
        )
    fitting = [record for record in found if record.revision.startswith(revision or "")]
    if not fitting or (revision and len(fitting) > 1):
        which = "more than one revision" if fitting else "no revision"
        raise StoreError(
            f"store {str(store.root)!r} has {which} {revision!r} of study {name!r} "
            f"(it has {listed(inventory, fitting or found)})"
        )
    record = fitting[0]
    place = "the newest" if record is found[0] else f"not the newest (that is {found[0]})"
    other = f", {place} of {len(found)} revisions" if len(found) > 1 else ""
    return record, f"{record}: {record.extent(inventory)}{other}", damaged


def listed(inventory: Inventory, found: Sequence[Record]) -> str:
    """Return the names of revisions in one line, with what the store has of each."""
    return "; ".join(f"{record}, {record.extent(inventory)}" for record in found)


def lost(store: Store, record: Record) -> str | None:
    """Return a sentence if the record of a study that is run again is damaged, or was deleted.

    It was deleted if ``store`` has steps of its rows that stand in no other record.
    """
    try:
        if read_record(store, str(record)):
            return None
    except DamagedError as damage:
        return f"{damage}; it has been written anew"
    known = {row["node"] for name in studies(store) for other in records(store, name)[0] for row in other.rows}
    found = {row["node"] for row in record.rows if store.has("steps", row["node"])} - known
    where = store.root / f"{FOLDER}{record}"
    return f"{where} was not there though {len(found)} of its steps are; it has been written" if found else None


def stated_columns(probes: Sequence[Probe], worlds: Sequence[World] | None = None) -> dict[str, str]:
    """Return the columns that probes state for these worlds, without worlds those of layers; with their types' names.

    Raises :class:`SpecError` for other types than numbers and words.
    """
    stated: dict[str, str] = {}
    owners: dict[str, Probe] = {}
    for probe in probes:
        each = [probe.layer_columns] if worlds is None else [probe.columns_in(world) for world in worlds]
        for name, kind in (pair for columns in each for pair in columns.items()):
            if kind not in NUMBERS:
                raise SpecError(f"probe {probe.kind}: column {name!r} must be of float, int or str, got {kind!r}")
            column = f"{name}{probe.suffix}"
            if owners.setdefault(column, probe) is not probe:
                raise SpecError(
                    f"probes: {owners[column].kind} and {probe.kind} both have a column {column!r}, which would have "
                    "two meanings; rename one"
                )
            stated[column] = kind.__name__
    return stated
