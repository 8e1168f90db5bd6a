"""Unpacking a study that was packed elsewhere: all of it is checked, and then it is written, result by result.

Checksums find damage, not malice: whoever packed a study could have written any numbers into it. It is made sure that
nothing else comes of it: no code is run or imported, no file is written but results under their own addresses, and
none that is there already is touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overparam.errors import StoreError, in_words
from overparam.lab.archive import Archive
from overparam.lab.fingerprint import fingerprint
from overparam.lab.foreign import check_body, code_in_weights, code_named
from overparam.lab.in_use import using
from overparam.lab.inventory import Inventory, Result
from overparam.lab.needs import needed
from overparam.lab.record import FOLDER, LENGTH, Record, read_record
from overparam.lab.results import load_results
from overparam.lab.store import DamagedError, Store

MOST_BYTES = 10_000_000_000  # that an archive may unpack to, unless more is allowed


@dataclass(frozen=True)
class Unpacked:
    """What came of unpacking.

    Attributes:
        title: NAME@REVISION of the study.
        new: how many results were written.
        there: how many were there already, and stayed as they are.
        bytes: the size of the archive's members.
    """

    title: str
    new: int
    there: int
    bytes: int


def unpack(store: Store, path: str | Path, max_bytes: int = MOST_BYTES, own_code: bool = False) -> Unpacked:
    """Put the study of a file that :func:`overparam.lab.pack` wrote into a store.

    All of it is checked first: names, sizes, checksums, the form of the numbers, and that the study's table can be made
    of them. Then each result is written whole or not at all; unpacking again goes on where it was stopped.

    Args:
        store: where it goes; what is there already stays.
        path: the file.
        max_bytes: how large it may be, unpacked.
        own_code: allow results that name code of the user who packed them, by import path: networks and constraints,
            which are imported when their checkpoints are loaded (not here).

    Raises:
        StoreError: the file is no packed study, or anything in it is damaged or not allowed, and then nothing was
            written; or the store cannot be written.
    """
    with _opened(path, max_bytes) as (archive, packed):
        record, results = _checked(archive, packed, own_code)
        steps = [name for kind, name in results if kind == "steps"]
        measured = [name for kind, name in results if kind == "probes"]
        with using(store, archive.title, steps, measured):
            new = sum(_copy(packed, store, result) for result in results)
            if not _has_record(store, archive.title):
                store.replace(f"{FOLDER}{record}", packed.newest(f"{FOLDER}{record}") or {})
    return Unpacked(archive.title, new, len(results) - new, archive.bytes)


@contextmanager
def _opened(path: str | Path, max_bytes: int) -> Iterator[tuple[Archive, Store]]:
    archive = Archive(path, max_bytes)
    try:
        yield archive, Store(path, blobs=archive)
    finally:
        archive.close()


def _checked(archive: Archive, packed: Store, own_code: bool) -> tuple[Record, list[Result]]:
    """Return the record and the results of an archive in which everything is as it must be."""
    try:
        record = _record(archive, packed)
        inventory = Inventory(packed)
        foreign = inventory.sizes.keys() - needed(record, inventory)
        if foreign:
            raise StoreError(f"holds {len(foreign)} results that the study does not need, such as {min(foreign)[1]}")
        paths = {path for result in inventory.sizes for path in _check(packed, result, inventory)}
        if paths and not own_code:
            raise StoreError(
                f"names code that is imported when its checkpoints are loaded: {', '.join(sorted(paths)[:3])}; if you "
                "trust where it comes from, allow that (--own-code)"
            )
        load_results(packed, record.name)
    except StoreError as error:
        raise StoreError(f"{str(archive.path)!r}: {error}; nothing was unpacked") from None
    except Exception as error:  # noqa: BLE001 (whatever a table cannot be made of)
        raise StoreError(
            f"{str(archive.path)!r}: no table can be made of it ({in_words(error)}); nothing was unpacked"
        ) from None
    return record, sorted(inventory.sizes)


def _record(archive: Archive, packed: Store) -> Record:
    """Return the record, whose name and rows are those that its title says."""
    body = packed.newest(f"{FOLDER}{archive.title}")
    _check_form("studies", body or {}, archive.title)
    record = read_record(packed, archive.title)
    assert record is not None
    if archive.title != f"{record.name}@{fingerprint(record.rows)[:LENGTH]}":
        raise StoreError(f"the record of {archive.title} is of another study")
    return record


def _check(packed: Store, result: Result, inventory: Inventory) -> list[str]:
    """Check a result, and return the import paths in it."""
    if not packed.verify(*result):
        raise StoreError(f"{result.kind}/{result.fingerprint} has no numbers")
    body = packed.numbers(*result)
    _check_form(result.kind, body, result.fingerprint)
    known = {entry["checksum"] for entry in body.get("tensors", {}).values()}
    if len(packed.keys(*result)) != 1 + len(known):
        raise StoreError(f"{result.kind}/{result.fingerprint} has weights that its numbers do not name")
    paths = list(code_named(body))
    try:
        for name in body.get("tensors", {}):
            paths += code_in_weights(packed.weights(result.fingerprint, name))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"the weights of {result.fingerprint} are not what overparam writes ({error})") from None
    return paths


def _has_record(store: Store, title: str) -> bool:
    try:
        return read_record(store, title) is not None
    except DamagedError:
        return False


def _check_form(kind: str, body: Any, name: str) -> None:
    try:
        check_body(kind, body)
    except ValueError as error:
        raise StoreError(f"{kind}/{name} is not what overparam writes ({error})") from None


def _copy(packed: Store, store: Store, result: Result) -> bool:
    """Write a result, unless it is there; tell whether it was written."""
    if store.has(*result):
        return False
    body = dict(packed.numbers(*result))
    names = body.pop("tensors", {})
    store.write(*result, body, {name: packed.weights(result.fingerprint, name) for name in names})
    return True
