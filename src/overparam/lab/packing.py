"""Packing a study of a store into one file."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from overparam.errors import StoreError
from overparam.files import why
from overparam.lab.archive import write_archive
from overparam.lab.contents import Contents
from overparam.lab.inventory import Result
from overparam.lab.record import FOLDER
from overparam.lab.store import FORMAT, MARKER, DamagedError, Store, sealed


@dataclass(frozen=True)
class Packed:
    """What was packed.

    Attributes:
        title: NAME@REVISION of the study.
        path: the file.
        results: how many results are in it.
        bytes: the size of the file.
        damaged: a sentence for each result that was left out because it is damaged.
    """

    title: str
    path: Path
    results: int
    bytes: int
    damaged: list[str]


def pack(store: Store, study: str, path: str | Path | None = None) -> Packed:
    """Write a study with all that it needs as one file, to be kept or to be unpacked elsewhere.

    A study that is not complete can be packed, too: it is run to its end where it is unpacked.

    Args:
        store: it is only read.
        study: NAME, of which the newest revision is meant, or NAME@REVISION.
        path: the file; None: ``NAME@REVISION.zip``. None may be there yet.

    Raises:
        StoreError: there is no such study, or the file is there already or cannot be written.
    """
    contents = Contents(store)
    title = str(contents.record(study))
    goal = Path(path) if path is not None else Path(f"{title}.zip")
    if goal.exists():
        raise StoreError(f"{str(goal)!r} is there already; name another file (--out)")
    damaged: list[str] = []
    results = [result for result in sorted(contents.needs(title)) if _whole(contents, result, damaged)]
    partial = goal.with_name(f".{uuid.uuid4().hex}")
    try:
        write_archive(partial, _members(contents, title, results))
        partial.replace(goal)
    except OSError as error:
        raise StoreError(f"{str(goal)!r} cannot be written ({why(error, goal)})") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return Packed(title, goal, len(results), goal.stat().st_size, damaged)


def _whole(contents: Contents, result: Result, damaged: list[str]) -> bool:
    """Tell whether a result is there, byte for byte; one that is damaged is told."""
    try:
        return result in contents.inventory.sizes and contents.store.verify(*result)
    except DamagedError as damage:
        damaged.append(f"{damage}: left out")
        return False


def _members(contents: Contents, title: str, results: list[Result]) -> Iterator[tuple[str, bytes]]:
    """Yield keys and bytes: the record as the newest is, then the results."""
    yield MARKER, sealed(MARKER, {"format": FORMAT})
    key, body = f"{FOLDER}{title}/000001.json", contents.store.newest(f"{FOLDER}{title}")
    assert body is not None
    yield key, sealed(key, body)
    for result in results:
        numbers = contents.store.numbers(*result)
        key = contents.store.key(*result)
        yield key, contents.store.read(key)
        for each in {entry["checksum"] for entry in numbers.get("tensors", {}).values()}:
            key = contents.store.key(*result, f".{each}.safetensors")
            yield key, contents.store.read(key)
