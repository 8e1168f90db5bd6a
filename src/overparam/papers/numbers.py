"""Results that last: the tidy numbers of a paper's finished study, committed beside it as JSON, without weights.

A file says which study and specification it is of, what made it, and how long that took. Numbers are kept to seven
digits; columns that have one value throughout are told once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from overparam.errors import SpecError
from overparam.files import write_file
from overparam.registry import suggest

LARGEST = 200_000
"""Most bytes of a file."""

DROPPED = ("fingerprint", "peak_memory_bytes")
"""Columns that say nothing to somebody without the store."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of a finished study.

    Attributes:
        study: its name.
        edition: ``laptop`` or ``paper``.
        specification: the hash of what it computes (:func:`overparam.lab.specification`).
        made: versions, machine, threads and times, in words.
        seconds: of all trainings together, as they were recorded; jobs side by side count one after another.
        frame: one row per trained checkpoint, as ``results.frame``.
    """

    study: str
    edition: str
    specification: str
    made: Mapping[str, str]
    seconds: float
    frame: pl.DataFrame


def save(numbers: Numbers, path: str | Path) -> Path:
    """Write numbers as a file; raises :class:`SpecError` if they are too many, or the file cannot be written."""
    frame = numbers.frame.drop(*DROPPED, strict=False)
    columns = {name: [_short(value) for value in frame[name].to_list()] for name in frame.columns}
    content = {
        "study": numbers.study,
        "edition": numbers.edition,
        "specification": numbers.specification,
        "made": dict(numbers.made),
        "seconds": round(numbers.seconds, 1),
        "rows": len(frame),
        "everywhere": {name: values[0] for name, values in columns.items() if _one(values)},
        "columns": {name: values for name, values in columns.items() if not _one(values)},
    }
    text = _text(content)
    if len(text.encode()) > LARGEST:
        raise SpecError(
            f"the numbers of study {numbers.study!r} take {len(text.encode()):,} bytes, more than {LARGEST:,}; "
            "keep fewer seeds or probes, or export them with --format parquet"
        )
    write_file(path, text)
    return Path(path)


def _text(content: Mapping[str, Any]) -> str:
    """Return JSON with a line for the head and one for each column."""

    def dumped(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    head = dumped({name: part for name, part in content.items() if name != "columns"})
    columns = ",\n".join(f"{dumped(name)}:{dumped(values)}" for name, values in content["columns"].items())
    return f'{head[:-1]},"columns":{{\n{columns}\n}}}}\n'


def _one(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _short(value: Any) -> Any:
    """Return a number with at most seven digits; what is no finite number becomes None."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.7g}") if value - value == 0 else None


def read(path: Any) -> Numbers:
    """Read numbers from a file (a path, or a file of a package)."""
    content = json.loads(path.read_text(encoding="utf-8"))
    same = {name: [value] * content["rows"] for name, value in content["everywhere"].items()}
    frame = pl.DataFrame({**same, **content["columns"]}, infer_schema_length=None)
    told = {name: content[name] for name in ("study", "edition", "specification", "made", "seconds")}
    return Numbers(**told, frame=frame)


def kept() -> dict[str, Any]:
    """Return the files of all studies whose numbers are kept, by the study's name."""
    papers = resources.files("overparam.papers")
    folders = [paper.joinpath("results") for paper in papers.iterdir() if paper.joinpath("results").is_dir()]
    files = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".json")]
    return {file.name.removesuffix(".json"): file for file in sorted(files, key=lambda file: file.name)}


def numbers_of(study: str) -> Numbers:
    """Return the kept numbers of a study that comes with overparam; raises :class:`SpecError` listing them."""
    files = kept()
    if study not in files:
        raise SpecError(f"no numbers of study {study!r} are kept{suggest(study, files)} (kept: {', '.join(files)})")
    return read(files[study])
