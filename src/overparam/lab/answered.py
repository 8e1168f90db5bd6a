"""Runs that were answered before: a study whose every result is there is read, and torch is not even imported.

To tell that nothing is missing, a run makes the study's plan anew: data, networks, steps, fingerprints. Where a command
says the same as it did when a run last found everything there, and nothing that the plan depends on has changed since,
the answer is the same. What it depends on is taken widely: the specification as it was given, this version down to the
times of its files, the data files; and it is not answered so if anything in it is the user's own code, or may be.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import overparam
from overparam.folders import cache_folder
from overparam.lab.dialect import parse_yaml
from overparam.lab.inventory import Inventory
from overparam.lab.record import Record, read_record
from overparam.lab.store import DamagedError, Store, checksum, sealed, unsealed
from overparam.lab.study_files import built_in_studies, text_of
from overparam.registry.importing import FORM

if TYPE_CHECKING:
    from overparam.lab.results import Results

KEPT = 200  # answers; the oldest go
MADE = {"digits", "xor", "monks-1", "monks-2", "monks-3", "mnist-1d", "diabetes", "teacher"}
"""Datasets that no file of the user's machine decides."""
FILED = {"mnist", "fashion-mnist", "cifar-10", "cifar-100"}
"""Datasets of a few files, in a folder that is named like the dataset or around it."""
MOST = 2000  # files that are looked at to tell that no data has changed


def question(given: str, changes: Sequence[str], store: Path) -> str | None:
    """Return what is asked as one checksum; None if it cannot be told, without torch, that the answer stays the same.

    Args:
        given: a study's name or file.
        changes: all else that a command says of what is to be run.
        store: the folder of results.
    """
    known = {} if Path(given).exists() else built_in_studies()
    document = parse_yaml(known[given] if given in known else text_of(given), given)
    if any(":" in text for text in changes) or _plug_ins():  # an import path, or a mapping
        return None
    pairs = [(path.rpartition(" ")[2], value) for path, _, value in (text.partition("=") for text in changes)]
    datasets = {*_datasets(document), *_datasets(dict(pairs))}
    if any(FORM.fullmatch(text) for text in _texts(document)) or not datasets or datasets - MADE - FILED:
        return None
    told = [document, list(changes), str(store.resolve()), _code(), _data(datasets & FILED)]
    return checksum(repr(told).encode())


def answer(asked: str, store: Path) -> Results | None:
    """Return the results of a run that has nothing to do, and note in the store that it was run; None: it must be run.

    Raises:
        StoreError: the store cannot be read or written.
    """
    began = time.perf_counter()
    try:
        told = unsealed(asked, _path(asked).read_bytes())
        there = Store(store)
        record = read_record(there, told["title"])
    except (OSError, ValueError, DamagedError):
        return None
    if record is None or there.notes or [record.spec, dict(record.about)] != told["says"]:
        return None
    inventory = Inventory(there)
    if _state(record, inventory) != told["state"]:
        return None
    from overparam.lab.results import load_results

    line = f"0 steps run and {len(record.steps)} found in the store, in {time.perf_counter() - began:.1f} s"
    replace(record, failures=(), run=line).write(there)
    return load_results(there, record.name, record.revision, inventory=inventory)


def remember(asked: str, results: Results) -> None:
    """Keep that a run found or made every result, if it did and there is nothing else to be told."""
    store = Store(results.store, reading=True)
    record = read_record(store, f"{results.name}@{results.revision}")
    if record is None or not results.complete or results.failures or results.notes or not record.steps:
        return
    body = {
        "title": str(record),
        "says": [record.spec, dict(record.about)],
        "state": _state(record, Inventory(store)),
    }
    path = _path(asked)
    partial = path.with_name(f".{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):  # nothing is lost but time
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(sealed(asked, body))
        partial.replace(path)
        by_age = sorted(path.parent.glob("*.json"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in by_age[KEPT:]:
            old.unlink(missing_ok=True)


def _state(record: Record, inventory: Inventory) -> str:
    """Return a checksum of size and time of every result of a study, "" if one is not there."""
    measured = {name for row in record.rows for name in row["measurements"]}
    if not (inventory.whole["steps"].issuperset(record.steps) and inventory.whole["probes"].issuperset(measured)):
        return ""
    return checksum(inventory.state("steps", record.steps) + inventory.state("probes", sorted(measured)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, str):
        yield value


def _datasets(value: Any, path: str = "") -> Iterator[str]:
    """Yield what a document says wherever it says which dataset, or in which world; no name if that is no text."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _datasets(entry, str(key))
    elif path.strip().rpartition(".")[2] in ("dataset", "world"):
        yield from (str(entry) for entry in (value if isinstance(value, list) else [value]))
    elif isinstance(value, list):
        for entry in value:
            yield from _datasets(entry)


def _plug_ins() -> bool:
    return any(group.startswith("overparam.") for group in entry_points().groups)


def _code() -> list[tuple[str, int, int]]:
    """Return name, size and time of every file of overparam."""
    return sorted(_files(Path(overparam.__file__).parent, 10, (".py", ".yaml", ".npz")))


def _data(datasets: Iterable[str]) -> list[Any]:
    """Return the files that may be those of datasets, where they are looked for, with size and time of each."""
    if not datasets:
        return []
    named = [part for part in os.environ.get("OVERPARAM_DATA", "").split(os.pathsep) if part]
    roots = [*map(Path, named), Path("/usr/share/datasets"), Path("/usr/local/share/datasets"), cache_folder()]
    found = [told for root in roots for told in _files(root.expanduser(), 3)]
    return [sorted(datasets), sorted(found) if len(found) < MOST else uuid.uuid4().hex]


def _files(folder: Path, depth: int, ends: tuple[str, ...] = ("",)) -> Iterator[tuple[str, int, int]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if depth > 1 and entry.name not in ("tables", "runs", "__pycache__"):
                    yield from _files(Path(entry.path), depth - 1, ends)
            elif entry.name.endswith(ends):
                told = entry.stat()
                yield entry.path, told.st_size, told.st_mtime_ns


def _path(asked: str) -> Path:
    return cache_folder() / "runs" / f"{asked}.json"
