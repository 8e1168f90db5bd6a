"""Tables that were read before, kept in the user's cache folder, so that a large study is not read file by file again.

A file there is named by the state of all that its tables were made of, and by its own checksum. It can be thrown away
at any time; the oldest are, when there are many. Nothing is written into a store for it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

import overparam
from overparam.folders import cache_folder
from overparam.lab.store import checksum

KEPT = 16  # tables; the oldest go
END = ".tables"


def recall(state: str) -> tuple[list[pl.DataFrame], dict[str, Any]] | None:
    """Return what was kept for a state; None if nothing was, or it is damaged."""
    for path in _folder().glob(f"{_name(state)}-*{END}"):
        with contextlib.suppress(OSError, ValueError, KeyError, pl.exceptions.PolarsError):
            content = path.read_bytes()
            if checksum(content) == path.stem.partition("-")[2]:
                os.utime(path)
                return _unpacked(content)
    return None


def remember(state: str, frames: Sequence[pl.DataFrame], facts: Mapping[str, Any]) -> None:
    """Keep tables and JSON-able facts for a state, if the cache folder takes them; the oldest of others go."""
    content = _packed(frames, facts)
    folder = _folder()
    partial = folder / f".{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(folder / f"{_name(state)}-{checksum(content)}{END}")
        by_age = sorted(folder.glob(f"*{END}"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in by_age[KEPT:]:
            path.unlink(missing_ok=True)
    except OSError:  # nothing is lost but time
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _packed(frames: Sequence[pl.DataFrame], facts: Mapping[str, Any]) -> bytes:
    buffers = []
    for frame in frames:
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="lz4")
        buffers.append(buffer.getvalue())
    head = json.dumps({"sizes": [len(buffer) for buffer in buffers], "facts": dict(facts)}).encode()
    return b"".join([head, b"\n", *buffers])


def _unpacked(content: bytes) -> tuple[list[pl.DataFrame], dict[str, Any]]:
    line, _, rest = content.partition(b"\n")
    head, frames = json.loads(line), []
    for size in head["sizes"]:
        frames.append(pl.read_ipc(io.BytesIO(rest[:size])))
        rest = rest[size:]
    return frames, head["facts"]


def _name(state: str) -> str:
    return checksum(f"{state} {code()}".encode())


@cache
def code() -> str:
    """Return a checksum of which version this is, down to the times of its files: other code may read other tables."""
    here = Path(overparam.__file__).parent
    files = sorted([*(here / "lab").glob("*.py"), here / "remarks.py"])
    told = [(path.name, status.st_size, status.st_mtime_ns) for path in files for status in (path.stat(),)]
    return checksum(repr([overparam.__version__, pl.__version__, told]).encode())


def _folder() -> Path:
    return cache_folder() / "tables"
