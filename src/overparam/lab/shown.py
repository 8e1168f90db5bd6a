"""A study in a store, in words: its revisions, what is there of it, what failed, and its specification."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from overparam.errors import counted, in_bytes
from overparam.lab.contents import Contents, Stored
from overparam.lab.record import Record


def plain(stored: Stored) -> dict[str, Any]:
    """Return what is told of a study in a store for programs, JSON-able."""
    record = stored.record
    return {
        "study": record.name,
        "revision": record.revision,
        "rows": len(record.rows),
        "present": stored.present,
        "complete": stored.complete,
        "running": stored.running,
        "failed": len(record.failures),
        "checkpoints": stored.checkpoints,
        "bytes": stored.bytes,
        "run": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.written)),
    }


def cells(stored: Stored) -> list[str]:
    """Return what a line of a list tells of a study: title, rows, state, checkpoints, size, age."""
    record = stored.record
    return [
        str(record),
        f"{stored.present} of {len(record.rows)}",
        state(stored),
        f"{stored.checkpoints}",
        in_bytes(stored.bytes),
        age(time.time() - record.written),
    ]


HEAD = ["study", "rows", "state", "checkpoints", "size", "run"]
"""What :func:`cells` are."""


def state(stored: Stored) -> str:
    """Say whether a study is complete."""
    failed = f", {len(stored.record.failures)} failed" if stored.record.failures else ""
    if stored.running:
        return f"running{failed}"
    return f"complete{failed}" if stored.complete else f"{len(stored.record.rows) - stored.present} missing{failed}"


def age(seconds: float) -> str:
    """Say how long ago something was.

    >>> age(5), age(7300), age(20 * 86400)
    ('now', '2 h ago', '20 days ago')
    """
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= (2 * length if unit == "days" else length):
            return f"{seconds / length:.0f} {unit} ago"
    return "now"


def plain_study(contents: Contents, given: str) -> dict[str, Any]:
    """Return :func:`study_lines` for programs, JSON-able."""
    record = contents.record(given)
    return {
        **plain(contents.stored(str(record))),
        "last_run": record.run,
        "revisions": [plain(each) for each in contents.studies if each.record.name == record.name],
        "arms": [
            {"arm": arm, "seed": seed, "rows": n, "present": k} for (arm, seed), (k, n) in _there(contents, record)
        ],
        "failures": [{"step": step, "reason": reason} for step, reason in record.failures],
        "specification": record.spec,
    }


def study_lines(contents: Contents, given: str) -> Iterator[str]:
    """Yield what there is to say of ``NAME`` (its newest revision) or ``NAME@REVISION``; raises :class:`StoreError`."""
    record = contents.record(given)
    stored = contents.stored(str(record))
    yield (
        f"{record}: {stored.present} of {counted(len(record.rows), 'row')}, {state(stored)}, "
        f"{counted(stored.checkpoints, 'checkpoint')}, {in_bytes(stored.bytes)}"
    )
    yield f"last run: {time.strftime('%Y-%m-%d %H:%M', time.localtime(record.written))}, {record.run}"
    yield from (str(use) for use in contents.uses if use.study == str(record))
    for other in contents.studies:
        if other.record.name == record.name and other.record is not record:
            yield f"other revision: {other.record}: {other.record.extent(contents.inventory)}"
    lacking = [(arm, seed, f"{k} of {n}") for (arm, seed), (k, n) in _there(contents, record) if k < n]
    yield from (f"missing: {arm}, seed {seed}: {told} rows are there" for arm, seed, told in lacking)
    yield from (f"failed: {step}: {reason}" for step, reason in record.failures)
    yield ""
    yield record.spec.rstrip("\n")


def _there(contents: Contents, record: Record) -> list[tuple[tuple[str, Any], tuple[int, int]]]:
    """Return of each arm and seed how many rows are there, and how many there should be."""
    counts: dict[tuple[str, Any], tuple[int, int]] = {}
    for row in record.rows:
        key = (arm_of(row), row["seed"])
        present, rows = counts.get(key, (0, 0))
        counts[key] = (present + record.present(contents.inventory, row), rows + 1)
    return list(counts.items())


def arm_of(row: Mapping[str, Any]) -> str:
    """Return the arm of a row: its variant and its swept values but the seed, ``default`` if there are none.

    >>> arm_of({"variant": "reinit", "coordinates": {"seed": 3, "world.train_size": 500}})
    'reinit,world.train_size=500'
    """
    swept = [f"{path}={value}" for path, value in row["coordinates"].items() if path != "seed" and value is not None]
    return ",".join([*([row["variant"]] if row["variant"] else []), *swept]) or "default"
